//! `rollbook fleet`: the workers that are there.

use crate::harness::{Place, wait_for};

#[test]
fn the_worker_of_up_is_listed() {
    let place = Place::new();
    let _up = place.up();
    let listed = || place.run("fleet --json").exits(0).json();
    wait_for("a worker", || {
        listed()["workers"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    });
    assert_eq!(listed()["workers"][0]["concurrency"], 4);
    place.run("fleet").exits(0).says("steps 0/4");
}
