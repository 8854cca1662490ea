//! Examples and exit codes of every command, for its help. Each example is parsed by a test.

/// Exit codes of commands that only work on files.
const LOCAL: &str = "0 done, 2 usage or invalid file";
/// Exit codes of commands that ask the server.
const READS: &str = "0 done, 2 usage or no such thing, 6 damaged data, 7 no server";
/// Exit codes of commands that record something.
pub(super) const ACTS: &str = "0 done, 1 refused by a rule, 2 usage, 4 waits for a second person, 5 blocked by\n  policy, 6 damaged data, 7 no server";
/// Exit codes of commands that wait for a rollout.
const WAITS: &str = "0 succeeded, 1 failed by a rule, 2 usage, 3 inconclusive, 4 waits for a person,\n  5 blocked by a window or policy, 6 damaged data, 7 no server";
/// Exit codes of `status`, which waits only if asked to.
const STATUS: &str = "0 shown, 2 usage or no such rollout, 6 damaged data, 7 no server; with --wait or\n  --watch: 0 succeeded, 1 failed by a rule, 3 inconclusive, 4 waits for a person,\n  5 blocked by a window or policy";
/// Exit codes of processes.
const STAYS: &str = "0 stopped in order, 2 usage, 5 the NATS server could lose data, 6 damaged ledger,\n  7 cannot start, a part has ended, or a second Ctrl-C";
/// Exit codes of commands that judge deals.
const JUDGES: &str = "0 nothing found, 1 found what a rule forbids, 2 usage, 3 nothing to judge,\n  6 damaged data, 7 a dependency is unavailable";

/// Path, exit codes, examples.
pub(super) type Entry = (&'static str, &'static str, &'static [&'static str]);

/// The examples of every command.
pub(super) const ENTRIES: &[Entry] = &[
    (
        "up",
        STAYS,
        &[
            "rollbook up",
            "rollbook up --data-dir .rollbook --listen 127.0.0.1:7400",
        ],
    ),
    (
        "serve",
        STAYS,
        &[
            "rollbook serve --nats nats://nats-1:4222 --database postgres://db/rollbook --objects /srv/evidence",
            "rollbook serve --nats nats://nats-1:4222 --objects s3://evidence/rollbook --replicas 3",
        ],
    ),
    (
        "worker",
        STAYS,
        &[
            "rollbook worker --nats nats://nats-1:4222 --objects /srv/evidence",
            "rollbook worker --nats nats://nats-1:4222 --objects /srv/evidence --label production-db --concurrency 8",
        ],
    ),
    (
        "run",
        WAITS,
        &[
            "rollbook run runbooks/hello.yaml --env local --as ci",
            "rollbook run migrate.yaml --env staging --param table=deals --timeout 900 --as ci",
        ],
    ),
    (
        "lint",
        LOCAL,
        &[
            "rollbook lint runbooks/hello.yaml",
            "rollbook lint migrate.yaml rollback.yaml --param table=deals",
        ],
    ),
    (
        "plan",
        READS,
        &[
            "rollbook plan runbooks/hello.yaml --env local",
            "rollbook plan hello-0197 --full          what its people sign, with every script",
            "rollbook plan hello-0197 --revision 2",
        ],
    ),
    (
        "diff",
        READS,
        &[
            "rollbook diff hello-0197 1 2",
            "rollbook diff hello-0197 1 2 --json",
        ],
    ),
    (
        "schema",
        LOCAL,
        &[
            "rollbook schema > runbook.schema.json",
            "rollbook schema --json",
        ],
    ),
    (
        "open",
        ACTS,
        &[
            "rollbook open runbooks/hello.yaml --env local --as alice --start",
            "rollbook open migrate.yaml --env production --param table=deals --id deals-7 --as alice",
        ],
    ),
    (
        "start",
        ACTS,
        &[
            "rollbook start --as alice",
            "rollbook start hello-0197 --as alice",
        ],
    ),
    (
        "pause",
        ACTS,
        &[
            "rollbook pause --reason 'tickets are coming in' --as alice",
            "rollbook pause hello-0197 --reason lunch --as alice",
        ],
    ),
    (
        "resume",
        ACTS,
        &[
            "rollbook resume --as alice",
            "rollbook resume hello-0197 --reason 'no more tickets' --as alice",
        ],
    ),
    (
        "abort",
        ACTS,
        &[
            "rollbook abort --reason 'not this quarter' --as alice",
            "rollbook abort hello-0197 --reason 'site is down' --break-glass --as alice",
        ],
    ),
    (
        "skip",
        ACTS,
        &[
            "rollbook skip 3.4 --reason 'done last week' --as alice",
            "rollbook skip 3.4 hello-0197 --reason 'nobody is reachable' --break-glass --as alice",
        ],
    ),
    (
        "retry",
        ACTS,
        &[
            "rollbook retry 1.6 --reason 'the disk has room again' --as alice",
            "rollbook retry 1.6 hello-0197 --reason 'network is back' --as alice",
        ],
    ),
    (
        "complete",
        ACTS,
        &[
            "rollbook complete 3.3 --all-pass --evidence screenshot.png --as pat",
            "rollbook complete 3.3 --answer 'Help text displays=fail:typo' --as pat",
        ],
    ),
    (
        "not-applicable",
        ACTS,
        &[
            "rollbook not-applicable 3.3 --reason 'no UI here' --as alice",
            "rollbook not-applicable 3.3 --accept --as bob",
        ],
    ),
    (
        "gate",
        READS,
        &["rollbook gate 1", "rollbook gate 1 --digest"],
    ),
    (
        "approve",
        ACTS,
        &[
            "rollbook approve 1 --as dora --role database           asks for a yes at a terminal",
            "rollbook approve 1 --as dora --seen \"$(rollbook gate 1 --digest)\"",
        ],
    ),
    (
        "reject",
        ACTS,
        &[
            "rollbook reject 1 --reason 'backup missing' --as dora",
            "rollbook reject 1 hello-0197 --role database --reason 'backup missing' --as dora",
        ],
    ),
    (
        "undo",
        ACTS,
        &[
            "rollbook undo 1.6 --reason 'wrong mapping' --as dora",
            "rollbook undo 1.6 hello-0197 --reason 'wrong mapping' --break-glass --as dora",
        ],
    ),
    (
        "rollback",
        ACTS,
        &[
            "rollbook rollback flags --reason 'costs are off' --as erin",
            "rollbook rollback full --dry-run",
            "rollbook rollback partial --step 2.1 --step 2.2 --reason 'wrong model' --as erin",
        ],
    ),
    (
        "revise",
        ACTS,
        &[
            "rollbook revise runbooks/hello.yaml --reason 'longer timeout' --as alice",
            "rollbook revise changed.yaml hello-0197 --param timeout=5m --reason 'slow disk' --as alice",
        ],
    ),
    (
        "accept",
        ACTS,
        &[
            "rollbook accept 2 --as bob",
            "rollbook accept 2 hello-0197 --as bob",
        ],
    ),
    (
        "confirm",
        ACTS,
        &[
            "rollbook confirm q-1f2e3d4c5b --as bob",
            "rollbook confirm q-1f2e3d4c5b hello-0197 --as bob",
        ],
    ),
    (
        "withdraw",
        ACTS,
        &[
            "rollbook withdraw q-1f2e3d4c5b --reason 'the disk has room again' --as alice",
            "rollbook withdraw 2 hello-0197 --reason 'wrong file' --as bob       a revision of the plan",
        ],
    ),
    (
        "review",
        ACTS,
        &[
            "rollbook review r-1f2e3d4c5b --agree --note 'the site was down' --as bob",
            "rollbook review r-1f2e3d4c5b --disagree --note 'a colleague was there' --as bob",
        ],
    ),
    (
        "requests",
        READS,
        &["rollbook requests", "rollbook requests --all"],
    ),
    (
        "environment",
        ACTS,
        &[
            "rollbook environment list",
            "rollbook environment show production",
        ],
    ),
    (
        "environment set",
        ACTS,
        &[
            "rollbook environment set production --protected --role operators=alice,bob --reason 'set up' --as alice",
            "rollbook environment set production --role operators=alice,bob,carol --reason 'carol joined' --as alice",
        ],
    ),
    (
        "environment show",
        READS,
        &[
            "rollbook environment show production",
            "rollbook environment show production --json",
        ],
    ),
    (
        "environment list",
        READS,
        &[
            "rollbook environment list",
            "rollbook environment list --json",
        ],
    ),
    (
        "environment accept",
        ACTS,
        &[
            "rollbook environment accept production 2 --as bob",
            "rollbook environment accept staging 3 --as bob",
        ],
    ),
    (
        "environment withdraw",
        ACTS,
        &[
            "rollbook environment withdraw production 2 --reason 'not agreed' --as bob",
            "rollbook environment withdraw staging 3 --reason 'typo' --as alice",
        ],
    ),
    (
        "status",
        STATUS,
        &[
            "rollbook status --watch",
            "rollbook status hello-0197 --wait 600",
        ],
    ),
    (
        "list",
        READS,
        &["rollbook list", "rollbook list --env production --limit 10"],
    ),
    (
        "log",
        READS,
        &[
            "rollbook log --follow",
            "rollbook log hello-0197 --actor alice --since 2h",
            "rollbook log --type sign_off_given --env production --json",
        ],
    ),
    (
        "show",
        READS,
        &[
            "rollbook show 1.6            what it does, its verdict, all its attempts",
            "rollbook show gate/1",
            "rollbook show 0.2 --output",
        ],
    ),
    (
        "evidence",
        READS,
        &[
            "rollbook evidence list hello-0197",
            "rollbook evidence get 9f86d081884c --rollout hello-0197",
        ],
    ),
    (
        "evidence list",
        READS,
        &[
            "rollbook evidence list hello-0197",
            "rollbook evidence list hello-0197 --json",
        ],
    ),
    (
        "evidence get",
        READS,
        &[
            "rollbook evidence get 9f86d081884c --rollout hello-0197",
            "rollbook evidence get 9f86d081884c --output backup.log",
        ],
    ),
    ("fleet", READS, &["rollbook fleet", "rollbook fleet --json"]),
    (
        "flag",
        ACTS,
        &[
            "rollbook flag list --env production",
            "rollbook flag get NEW_PRICING --env production",
        ],
    ),
    (
        "flag define",
        ACTS,
        &[
            "rollbook flag define NEW_PRICING --env production --owner team/eng --description 'new model' --as alice",
            "rollbook flag define NEW_UI --env local --owner team/ui --description 'new page' --safe off --retire-by 2027-01-31 --as alice",
        ],
    ),
    (
        "flag list",
        READS,
        &["rollbook flag list", "rollbook flag list --env production"],
    ),
    (
        "flag get",
        READS,
        &[
            "rollbook flag get NEW_PRICING --env production",
            "rollbook flag get NEW_PRICING --env production --json",
        ],
    ),
    (
        "flag set",
        ACTS,
        &[
            "rollbook flag set NEW_PRICING 25% --env production --reason 'first quarter' --as alice",
            "rollbook flag set NEW_PRICING safe --env production --reason 'costs are off' --as erin",
        ],
    ),
    (
        "flag history",
        READS,
        &[
            "rollbook flag history NEW_PRICING --env production",
            "rollbook flag history NEW_PRICING --env production --json",
        ],
    ),
    (
        "deals",
        JUDGES,
        &[
            "rollbook deals generate --count 5000 --database sqlite:deals.db",
            "rollbook deals generate --count 100 --seed 7 --database sqlite:deals.db",
        ],
    ),
    (
        "deals generate",
        JUDGES,
        &[
            "rollbook deals generate --count 5000 --seed 1 --database sqlite:deals.db",
            "rollbook deals generate --count 100 --broken 3 --database sqlite:deals.db",
        ],
    ),
    (
        "snapshot",
        JUDGES,
        &[
            "rollbook snapshot take --database sqlite:deals.db --label before",
            "rollbook snapshot list",
        ],
    ),
    (
        "snapshot take",
        JUDGES,
        &[
            "rollbook snapshot take --database sqlite:deals.db --label before",
            "rollbook snapshot take --database postgres://db/deals --label after --where \"status = 'active'\"",
        ],
    ),
    (
        "snapshot list",
        READS,
        &[
            "rollbook snapshot list",
            "rollbook snapshot list hello-0197",
        ],
    ),
    (
        "snapshot show",
        READS,
        &[
            "rollbook snapshot show SHA256",
            "rollbook snapshot show SHA256 --objects /srv/evidence --json",
        ],
    ),
    (
        "snapshot errors",
        READS,
        &[
            "rollbook snapshot errors SHA256",
            "rollbook snapshot errors SHA256 --limit 20",
        ],
    ),
    (
        "snapshot export",
        READS,
        &[
            "rollbook snapshot export SHA256 --format csv --output deals.csv",
            "rollbook snapshot export SHA256 --format jsonl > deals.jsonl",
        ],
    ),
    (
        "model",
        LOCAL,
        &[
            "rollbook model show",
            "rollbook model show --deal-type carveout",
        ],
    ),
    (
        "model show",
        LOCAL,
        &[
            "rollbook model show --deal-type carveout",
            "rollbook model show --numbers > model.json",
        ],
    ),
    (
        "compare",
        JUDGES,
        &[
            "rollbook compare BEFORE_SHA256 AFTER_SHA256 --tolerance 5",
            "rollbook compare --result SHA256 --regressions --limit 20",
        ],
    ),
    (
        "audit",
        JUDGES,
        &[
            "rollbook audit --database sqlite:deals.db",
            "rollbook audit --database postgres://db/deals --json",
        ],
    ),
    (
        "replay",
        READS,
        &[
            "rollbook replay --at 120",
            "rollbook replay hello-0197 --at 2026-01-01T00:00:00Z",
        ],
    ),
    (
        "report",
        READS,
        &[
            "rollbook report hello-0197",
            "rollbook report --format html --output report.html",
        ],
    ),
    (
        "config",
        LOCAL,
        &["rollbook config", "rollbook config --json"],
    ),
    (
        "doctor",
        READS,
        &["rollbook doctor", "rollbook doctor --json"],
    ),
    (
        "version",
        LOCAL,
        &["rollbook version", "rollbook version --json"],
    ),
    (
        "completions",
        LOCAL,
        &[
            "rollbook completions bash > ~/.local/share/bash-completion/completions/rollbook",
            "rollbook completions zsh > ~/.zfunc/_rollbook",
        ],
    ),
];
