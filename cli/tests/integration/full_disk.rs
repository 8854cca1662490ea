//! An evidence store on a disk that is really full, and then is not.

use std::fs;

use crate::harness::{Place, Process, Ran};
use crate::small_disk::SmallDisk;

/// Of the disk, what something else takes: a part of so many deals does not fit beside it.
const DISK_MEGABYTES: u32 = 2;
const BALLAST_KILOBYTES: u32 = 1_950;

#[test]
fn a_snapshot_on_a_full_disk_ends_with_7_and_goes_well_when_there_is_room() {
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
    // Who enters the disk's namespace stands at its root.
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
    // Nothing is there that only looks like evidence.
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
