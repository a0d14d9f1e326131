//! One line of `chronyc -c tracking`: comma-separated, in the order of chronyc(1), "tracking".

/// What chronyd says of the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracking {
    /// The source's address or name; chronyd's own clock is `7F7F0101` and has none.
    pub reference: String,
    /// The reference id in hexadecimal.
    pub reference_id: String,
    /// Distance from a reference clock; 0 when there is none.
    pub stratum: u8,
    /// How far the system clock is off, in seconds; the sign says which way.
    pub offset_s: f64,
    /// How far the last measurement was off, in seconds.
    pub last_offset_s: f64,
    /// Round trip to the reference clock, in seconds.
    pub root_delay_s: f64,
    /// Error that has accumulated since the reference clock, in seconds.
    pub root_dispersion_s: f64,
    /// `Normal`, `Insert second`, `Delete second` or `Not synchronised`.
    pub leap: String,
}

const FIELDS: usize = 14;

/// Reads the line.
pub fn parse(text: &str) -> Result<Tracking, String> {
    let not_understood = |why: &str| {
        let shown: String = text.trim().chars().take(200).collect();
        format!("cannot read the answer of chronyc: {why}: {shown:?}")
    };
    let fields: Vec<&str> = text.trim().split(',').collect();
    if fields.len() != FIELDS {
        return Err(not_understood("not 14 fields"));
    }
    let seconds = |at: usize| {
        let value = fields[at]
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite());
        value.ok_or_else(|| not_understood(&format!("field {} is no number", at + 1)))
    };
    Ok(Tracking {
        reference_id: fields[0].to_string(),
        reference: fields[1].to_string(),
        stratum: fields[2]
            .parse()
            .map_err(|_| not_understood("field 3 is no stratum"))?,
        offset_s: seconds(4)?,
        last_offset_s: seconds(5)?,
        root_delay_s: seconds(10)?,
        root_dispersion_s: seconds(11)?,
        leap: fields[13].to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tracking_line_is_refused_and_shown() {
        let good = "7F000001,127.0.0.1,11,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,Normal";
        assert!(parse(good).is_ok());
        for (bad, why) in [
            (String::new(), "not 14 fields"),
            (String::from("506 Cannot talk to daemon\n"), "not 14 fields"),
            (format!("{good},x"), "not 14 fields"),
            (good.replacen("11", "x", 1), "field 3 is no stratum"),
            (
                good.replacen("1.0,0.0", "1.0,NaN", 1),
                "field 5 is no number",
            ),
            (
                good.replacen("1.0,0.0", "1.0,inf", 1),
                "field 5 is no number",
            ),
        ] {
            let error = parse(&bad).unwrap_err();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }
}
