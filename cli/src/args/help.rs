//! What `--help` adds to each command: examples and exit codes, and groups of commands.

use clap::{Arg, Command};

use super::examples::{ACTS, ENTRIES};

/// The heading of the options that every command has.
pub(crate) const EVERYWHERE: &str = "Options of every command";

/// Exit codes of every command, for the help of `rollbook` itself.
const ALL: &str = "0 done, 1 failed by a rule, 2 usage or invalid file, 3 inconclusive, 4 waits for a\n  person, 5 blocked by a window or policy, 6 damaged data, 7 unavailable, 130 ended\n  by Ctrl-C, 143 ended by SIGTERM";

/// The commands by what people want, for the help of `rollbook` itself.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "See what is going on",
        &[
            "status", "list", "show", "log", "evidence", "requests", "fleet",
        ],
    ),
    (
        "Prepare and run a rollout",
        &[
            "lint", "plan", "open", "start", "run", "pause", "resume", "abort", "revise", "diff",
            "accept",
        ],
    ),
    (
        "Do and judge the work",
        &[
            "complete",
            "skip",
            "retry",
            "not-applicable",
            "gate",
            "approve",
            "reject",
            "confirm",
            "withdraw",
            "review",
        ],
    ),
    ("Go back", &["undo", "rollback"]),
    ("Prove what happened", &["report", "replay"]),
    ("Flags and environments", &["flag", "environment"]),
    ("Deals", &["deals", "model", "snapshot", "compare", "audit"]),
    (
        "Set up",
        &[
            "up",
            "serve",
            "worker",
            "doctor",
            "config",
            "schema",
            "completions",
            "version",
        ],
    ),
];

/// Adds examples and exit codes to every command, groups the commands, and hides the options of
/// those who act where nobody does.
pub(crate) fn with_help(command: Command) -> Command {
    // A subcommand that has the option already does not get it from here.
    let of_actors: Vec<Arg> = command
        .get_arguments()
        .filter(|arg| matches!(arg.get_id().as_str(), "actor" | "command_id"))
        .map(|arg| arg.clone().hide(true))
        .collect();
    let command = command.mut_subcommands(|command| added(command, "", &of_actors));
    let groups = groups(&command);
    let examples = [
        "rollbook up                          start everything on this machine",
        "rollbook                             what is open, and what waits for you",
        "rollbook status --watch              what happens, what is blocked, and why",
    ];
    command
        .before_help(groups)
        .after_help(text(ALL, &examples))
        .help_template("{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}")
}

/// The commands of each group with what they do.
fn groups(command: &Command) -> String {
    let mut out = String::new();
    for (title, names) in GROUPS {
        out.push_str(&format!("{title}:\n"));
        for name in *names {
            let about = command
                .find_subcommand(name)
                .and_then(|command| command.get_about())
                .map(ToString::to_string)
                .unwrap_or_default();
            out.push_str(&format!("  {name:<15} {about}\n"));
        }
        out.push('\n');
    }
    out
}

fn added(command: Command, parent: &str, of_actors: &[Arg]) -> Command {
    let path = format!("{parent}{}", command.get_name());
    let below = format!("{path} ");
    let command = command.mut_subcommands(|command| added(command, &below, of_actors));
    let Some((_, exits, examples)) = ENTRIES.iter().find(|(of, ..)| *of == path) else {
        return command;
    };
    let command = command.after_help(text(exits, examples));
    if *exits == ACTS || path == "run" {
        return command;
    }
    command.args(of_actors)
}

fn text(exits: &str, examples: &[&str]) -> String {
    let mut text = String::from("Examples:\n");
    for example in examples {
        text.push_str("  ");
        text.push_str(example);
        text.push('\n');
    }
    text.push_str("\nExit codes:\n  ");
    text.push_str(exits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_fits_a_line() {
        let command = crate::args::command();
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let mut known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        grouped.sort_unstable();
        known.sort_unstable();
        assert_eq!(grouped, known);
        for line in groups(&command).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
