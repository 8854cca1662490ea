//! An evidence store on a disk that is really full, and then has room again.

use std::fs;

use crate::harness::{Place, Process, Ran, wait_for};
use crate::small_disk::SmallDisk;

/// Size of the disk, most of which a ballast file takes: the parts of these deals do not fit beside
/// it.
const DISK_MEGABYTES: u32 = 2;
const BALLAST_KILOBYTES: u32 = 1_950;

#[test]
fn a_snapshot_on_a_full_disk_ends_with_7_and_succeeds_once_there_is_room() {
    let place = Place::new();
    place
        .run("deals generate --count 5000 --seed 1 --database sqlite:deals.db")
        .exits(0);
    let store = place.path().join("store");
    fs::create_dir(&store).unwrap();
    let Some(mut disk) = SmallDisk::mount(&store, DISK_MEGABYTES) else {
        return;
    };
    let store = store.display();
    // A process that enters the disk's mount namespace starts at its root.
    let line = format!(
        "snapshot take --database sqlite:{}/deals.db --objects {store} --json",
        place.path().display()
    );
    let before = disk.enter();
    let take = || -> Ran { Process::start(&mut place.command_behind(&before, &line)).finish() };

    disk.run(&format!(
        "dd if=/dev/zero of='{store}/ballast' bs=1k count={BALLAST_KILOBYTES}"
    ));
    let ran = take().exits(7);
    ran.complains("RB-EVIDENCE-4").complains("free space");
    // No partial file looks like evidence.
    disk.run(&format!(
        "test -z \"$(find '{store}' -type f ! -name ballast)\""
    ));

    disk.run(&format!("rm '{store}/ballast'"));
    let taken = take();
    assert!(matches!(taken.code, Some(0 | 1)), "{taken:?}");
    disk.run(&format!(
        "cd '{store}' && test \"$(find . -type f | wc -l)\" -ge 2 && \
         find . -type f | while read -r file; do \
         echo \"${{file##*/}}  $file\" | sha256sum --check --quiet || exit 1; done"
    ));
}

#[test]
fn views_on_a_full_disk_wait_for_room_while_work_continues() {
    let place = Place::new();
    let file = place.hello();
    let disk_at = place.path().join("views");
    fs::create_dir(&disk_at).unwrap();
    let Some(mut disk) = SmallDisk::mount(&disk_at, DISK_MEGABYTES) else {
        return;
    };
    let at = disk_at.display();
    let line = format!(
        "up --listen 127.0.0.1:0 --data-dir {} --database sqlite:{at}/views.db",
        place.data_dir().display()
    );
    let before = disk.enter();
    let up = Process::start(&mut place.command_behind(&before, &line));
    wait_for("`rollbook up` to answer", || {
        place.run("list").code == Some(0)
    });
    place
        .run(&format!(
            "open {file} --env local --id h --start --as alice"
        ))
        .exits(0);
    place.until_step("h", "1.1", &["finished"]);

    // dd is supposed to fail when the disk is full.
    disk.run(&format!("dd if=/dev/zero of='{at}/ballast' bs=4k || true"));
    for index in 0..5 {
        let ran = place.run(&format!(
            "flag define F{index} --env local --owner eng --description d --as alice"
        ));
        assert!(matches!(ran.code, Some(0 | 7)), "{ran:?}");
    }
    up.until_complains("full");
    let lag = |ran: &Ran| ran.out.contains("lag 0");
    assert!(
        !lag(&place.run("doctor")),
        "the views stand where they stood"
    );

    disk.run(&format!("rm '{at}/ballast'"));
    wait_for("the views to catch up", || lag(&place.run("doctor")));
    up.signal(nix::sys::signal::Signal::SIGTERM);
    up.finish().exits(0);
}
