//! The rule that lets the agent's user do what polkit can name: six verbs of systemd on the units
//! of the allow list. Written by root; polkitd reads it again by itself when it changes.

use std::collections::BTreeSet;
use std::path::Path;

use nodemedic_edge::files;
use serde_json::json;

use crate::allow::Allow;
use crate::deeds::Deed;

/// Where the administrator's rules are: root's own. That this one is made from the configuration is
/// why it is not among the vendor's.
pub const RULES: &str = "/etc/polkit-1/rules.d/60-nodemedic.rules";

/// `ref` keeps systemd from forgetting how a unit ended; the others are what the names say.
const VERBS: [&str; 6] = ["start", "stop", "restart", "reset-failed", "kill", "ref"];

/// A rule for a thousand units is a tenth of this.
const RULES_MAX_BYTES: usize = 1 << 20;

/// The text of the rule.
#[must_use]
pub fn rules(allow: &Allow, user: &str) -> String {
    let restarts = allow.remedies.values().filter_map(|deed| match deed {
        Deed::Restart(units) => Some(units),
        _ => None,
    });
    let units: BTreeSet<&String> = allow.services.keys().chain(restarts.flatten()).collect();
    let templates: Vec<&str> = (allow.templates.iter().flatten())
        .filter_map(|name| name.strip_suffix(".service"))
        .collect();
    format!(
        "// Written by nodemedic-helper from the agent's configuration at each start and reload\n\
         // of nodemedic-agent. What is changed here is lost.\n\
         polkit.addRule(function(action, subject) {{\n\
         \x20   var verbs = {verbs};\n\
         \x20   var units = {units};\n\
         \x20   var templates = {templates};\n\
         \x20   if (action.id != \"org.freedesktop.systemd1.manage-units\" ||\n\
         \x20       subject.user != {user} || verbs.indexOf(action.lookup(\"verb\")) < 0) {{\n\
         \x20       return polkit.Result.NOT_HANDLED;\n\
         \x20   }}\n\
         \x20   var unit = String(action.lookup(\"unit\"));\n\
         \x20   if (units.indexOf(unit) >= 0) {{\n\
         \x20       return polkit.Result.YES;\n\
         \x20   }}\n\
         \x20   var at = unit.indexOf(\"@\");\n\
         \x20   var instance = unit.slice(at + 1);\n\
         \x20   if (at > 0 && templates.indexOf(unit.slice(0, at + 1)) >= 0 &&\n\
         \x20       /^[^@\\/]+\\.service$/.test(instance)) {{\n\
         \x20       return polkit.Result.YES;\n\
         \x20   }}\n\
         \x20   return polkit.Result.NOT_HANDLED;\n\
         }});\n",
        verbs = json!(VERBS),
        units = json!(units),
        templates = json!(templates),
        user = json!(user),
    )
}

/// Puts the rule in place, if it is not there as it is. Without polkit there is nowhere to put it.
///
/// # Errors
/// When it cannot be written, or there is no polkit.
pub fn write(path: &Path, allow: &Allow, user: &str) -> Result<(), String> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(format!(
            "{} is not there: without polkit the agent may not act on units; install polkitd",
            directory.display()
        ));
    }
    let text = rules(allow, user);
    let there = files::read_capped(path, RULES_MAX_BYTES).map_err(|error| error.to_string())?;
    if there.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    files::write_atomic(path, text.as_bytes(), 0o644).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_rule_names_the_units_and_nothing_else() {
        let allow = Allow {
            services: BTreeMap::from([("web\\x2d1.service".to_owned(), BTreeSet::new())]),
            templates: Some(BTreeSet::from(["db@.service".to_owned()])),
            remedies: BTreeMap::from([(
                "stack".to_owned(),
                Deed::Restart(vec!["app.service".to_owned()]),
            )]),
        };
        let text = rules(&allow, "nodemedic");
        assert!(
            text.contains(r#"var units = ["app.service","web\\x2d1.service"];"#),
            "{text}"
        );
        assert!(text.contains(r#"var templates = ["db@"];"#), "{text}");
        assert!(text.contains(r#"subject.user != "nodemedic""#), "{text}");
    }

    #[test]
    fn it_is_written_only_where_polkit_is_and_only_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let allow = Allow::default();
        let error = write(&dir.path().join("rules.d/60.rules"), &allow, "x").unwrap_err();
        assert!(error.contains("install polkitd"), "{error}");
        let path = dir.path().join("60.rules");
        write(&path, &allow, "x").unwrap();
        let inode = |path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
        let first = inode(&path);
        write(&path, &allow, "x").unwrap();
        assert_eq!(inode(&path), first);
        write(&path, &allow, "y").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"y\""));
    }
}
