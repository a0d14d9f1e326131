//! Runs every rule on this repository and names everything that is not tidy at once.

use std::path::Path;

use nodemedic_tidy::{check, tree::Tree};

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Tree::read(&root).unwrap();
    assert!(tree.has("Cargo.toml"), "{} is not the top", root.display());
    let found = check(&tree);
    let mut last = "";
    for (rule, violation) in &found {
        if *rule != last {
            println!("\n{rule}:");
            last = rule;
        }
        println!("  {violation}");
    }
    assert!(
        found.is_empty(),
        "{} places are not tidy, see above",
        found.len()
    );
}
