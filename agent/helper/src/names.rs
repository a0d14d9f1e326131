//! Names of units, as far as they decide what may be touched.

/// As systemd.unit(5) has it, but for the backslash escapes' meaning; nothing of it can leave a
/// directory or end a line.
const LONGEST: usize = 255;

/// A name that systemd can have, of a unit that holds processes.
#[must_use]
pub fn is_unit(name: &str) -> bool {
    let stem = name
        .strip_suffix(".service")
        .or_else(|| name.strip_suffix(".scope"));
    name.len() <= LONGEST
        && stem.is_some_and(|stem| {
            !stem.is_empty()
                && !stem.starts_with('.')
                && (stem.chars()).all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
        })
}

/// `web@.service`: what works are instances of.
#[must_use]
pub fn is_template(name: &str) -> bool {
    is_unit(name)
        && name
            .split_once('@')
            .is_some_and(|(stem, rest)| !stem.is_empty() && rest == ".service")
}

/// Whether a unit is an instance of a template, and not the template itself.
#[must_use]
pub fn is_instance(unit: &str, template: &str) -> bool {
    let Some((stem, suffix)) = template.split_once("@.") else {
        return false;
    };
    let instance = unit
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix('@'))
        .and_then(|rest| rest.strip_suffix(suffix))
        .and_then(|rest| rest.strip_suffix('.'));
    is_unit(unit) && instance.is_some_and(|name| !name.is_empty() && !name.contains('@'))
}

/// A unit as it runs for a service or a work: a template gets its name as the instance.
#[must_use]
pub fn instance_of(unit: &str, name: &str) -> String {
    match unit.split_once("@.") {
        Some((stem, kind)) => format!("{stem}@{name}.{kind}"),
        None => unit.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_directory_or_a_line_are_none() {
        for good in [
            "web.service",
            "a@b.service",
            "x\\x2dy.scope",
            "a:b_c.service",
        ] {
            assert!(is_unit(good), "{good}");
        }
        let long = format!("{}.service", "x".repeat(250));
        for bad in [
            "",
            ".service",
            "web",
            "web.timer",
            "../web.service",
            "a/b.service",
            "a b.service",
            "a\nb.service",
            "\"a.service",
            ".hidden.service",
            &long,
        ] {
            assert!(!is_unit(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_instance_belongs_to_its_own_template_only() {
        assert!(is_template("db@.service") && !is_template("db@x.service"));
        assert!(!is_template("@.service") && !is_template("db.service"));
        assert!(is_instance("db@orders.service", "db@.service"));
        for other in [
            "db@.service",
            "db.service",
            "xdb@a.service",
            "db@a.scope",
            "db@a@b.service",
        ] {
            assert!(!is_instance(other, "db@.service"), "{other}");
        }
        assert!(!is_instance("db@a.service", "db.service"));
        assert_eq!(instance_of("db@.service", "orders"), "db@orders.service");
        assert_eq!(instance_of("db.service", "orders"), "db.service");
    }
}
