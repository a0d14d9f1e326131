//! What a plugin needs: the report type, a way out, and a safe way to ask another program.
//!
//! A plugin is a program of its own: it looks at one thing, writes one [`Report`], and exits.
//! docs/reference/plugin.md has the contract, docs/howto/add-a-plugin.md the way to a new one.

pub mod child;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

pub use nodemedic_protocol::health::Severity;
pub use nodemedic_protocol::plugin::{FINDINGS_MAX, Finding, OUTPUT_MAX_BYTES, Report};

/// Wrong usage, as in sysexits.h; the agent takes any status but 0 as "could not look".
pub const EXIT_USAGE: u8 = 64;

/// Writes a report where the agent reads it, and gives the status to exit with.
#[must_use]
pub fn emit(report: &Report) -> ExitCode {
    match write(report, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever closed stdout may have closed this too.
            let _ = writeln!(std::io::stderr(), "cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a report as one line.
///
/// # Errors
/// When it is larger than the agent reads, or the writer fails.
pub fn write(report: &Report, to: &mut impl Write) -> Result<(), String> {
    if report.findings.len() > FINDINGS_MAX {
        return Err(format!(
            "{} findings; the agent takes {FINDINGS_MAX}: put them together",
            report.findings.len()
        ));
    }
    let mut line = serde_json::to_vec(report).map_err(|e| e.to_string())?;
    line.push(b'\n');
    if line.len() > OUTPUT_MAX_BYTES {
        return Err(format!(
            "{} bytes; the agent reads {OUTPUT_MAX_BYTES}: shorten the texts",
            line.len()
        ));
    }
    to.write_all(&line)
        .and_then(|()| to.flush())
        .map_err(|e| e.to_string())
}

/// A finding without ceremony: evidence as pairs of a name (with its unit) and a value.
#[must_use]
pub fn finding(
    part: &str,
    reason: &str,
    severity: Severity,
    message: String,
    evidence: &[(&str, String)],
) -> Finding {
    let evidence: BTreeMap<String, String> = evidence
        .iter()
        .map(|(name, value)| ((*name).to_string(), value.clone()))
        .collect();
    Finding {
        part: part.to_string(),
        reason: reason.to_string(),
        severity,
        message,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Finding {
        let evidence = [("offset_ms", String::from("120"))];
        finding(
            "clock",
            "offset",
            Severity::Warning,
            String::from("It is off."),
            &evidence,
        )
    }

    fn text(report: &Report) -> Result<String, String> {
        let mut out = Vec::new();
        write(report, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_report_is_one_line_that_reads_back() {
        let report = Report::of(vec![one()]);
        let text = text(&report).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1));
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let golden = concat!(
            r#"{"version":1,"findings":[{"part":"clock","reason":"offset","#,
            r#""severity":"warning","message":"It is off.","evidence":{"offset_ms":"120"}}]}"#,
            "\n"
        );
        assert_eq!(text, golden);
    }

    #[test]
    fn what_the_agent_would_not_take_is_refused_here_with_the_remedy() {
        let many = Report::of(vec![one(); FINDINGS_MAX + 1]);
        assert!(text(&many).unwrap_err().contains("put them together"));
        let long = Report::unknown("x".repeat(OUTPUT_MAX_BYTES));
        assert!(text(&long).unwrap_err().contains("shorten the texts"));
    }
}
