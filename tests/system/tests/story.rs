//! `nodemedic story` is the product's own proof; it must end well from a plain shell.

use std::process::Command;
use std::time::Duration;

use nodemedic_system_tests::binary;
use nodemedic_system_tests::process::Process;

#[test]
fn the_story_ends_well() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary("nodemedic"));
    command.args(["--color", "never", "story"]);
    let mut story = Process::start("story", command, &dir.path().join("story.log"));
    let code = story.exit_code(Duration::from_secs(240));
    println!("{}", story.output());
    assert_eq!(code, Some(0));
}
