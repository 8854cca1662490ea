//! Distinct values, so that two mixed-up fields never encode alike.

use std::collections::BTreeMap;

use rollbook_proto::v1::{
    ChecklistAnswer, Evidence, Measurement, PhaseOutline, PlanOutline, StepOutline, Verdict,
};
use rollbook_proto::{Duration, Timestamp};

/// Hands out distinct values in the order of the calls.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    given: u32,
}

impl Distinct {
    /// Never 0, never the same twice; above 127, so that it takes more than one byte.
    pub(crate) fn small(&mut self) -> u32 {
        self.given += 1;
        1_000 + self.given
    }

    /// Wider than 32 bits.
    pub(crate) fn large(&mut self) -> u64 {
        (1 << 40) + u64::from(self.small())
    }

    /// Negative and wider than 32 bits.
    pub(crate) fn negative(&mut self) -> i64 {
        -(1 << 40) - i64::from(self.small())
    }

    /// Not a whole number, but exact in binary.
    pub(crate) fn fraction(&mut self) -> f64 {
        f64::from(self.small()) + 0.25
    }

    pub(crate) fn text(&mut self, what: &str) -> String {
        format!("{what} {} é", self.small())
    }

    pub(crate) fn texts(&mut self, what: &str) -> Vec<String> {
        vec![self.text(what), self.text(what)]
    }

    /// 64 lower-case hex digits.
    pub(crate) fn digest(&mut self) -> String {
        format!("{:064x}", self.small())
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        Timestamp {
            seconds: 1_900_000_000 + i64::from(self.small()),
            nanos: 123_456_789,
        }
    }

    pub(crate) fn duration(&mut self) -> Duration {
        Duration {
            seconds: i64::from(self.small()),
            nanos: 500_000_000,
        }
    }

    pub(crate) fn text_map(&mut self, what: &str) -> BTreeMap<String, String> {
        (0..2)
            .map(|_| (self.text(what), self.text("value")))
            .collect()
    }

    pub(crate) fn count_map(&mut self, what: &str) -> BTreeMap<String, u64> {
        (0..2).map(|_| (self.text(what), self.large())).collect()
    }

    pub(crate) fn evidence(&mut self) -> Evidence {
        Evidence {
            sha256: self.digest(),
            size_bytes: self.large(),
            media_type: self.text("media type"),
            name: self.text("name"),
            truncated: true,
        }
    }

    pub(crate) fn measurement(&mut self, verdict: Verdict) -> Measurement {
        Measurement {
            metric: self.text("metric"),
            value: Some(self.fraction()),
            text: self.text("text"),
            unit: self.text("unit"),
            rule: self.text("rule"),
            verdict: verdict.into(),
            measured_at: Some(self.time()),
            ..Measurement::default()
        }
    }

    /// A number that no double can represent.
    pub(crate) fn measurement_of_digits(&mut self) -> Measurement {
        Measurement {
            value: Some(9_007_199_254_740_992.0),
            decimal: "9007199254740993".to_owned(),
            ..self.measurement(Verdict::Pass)
        }
    }

    /// No number, because its source was truncated.
    pub(crate) fn measurement_of_cut_output(&mut self) -> Measurement {
        Measurement {
            incomplete: true,
            ..self.measurement_without_value()
        }
    }

    /// No data: absent, which differs from zero.
    pub(crate) fn measurement_without_value(&mut self) -> Measurement {
        Measurement {
            value: None,
            ..self.measurement(Verdict::Inconclusive)
        }
    }

    /// Zero, which differs from absent.
    pub(crate) fn measurement_of_zero(&mut self) -> Measurement {
        Measurement {
            value: Some(0.0),
            ..self.measurement(Verdict::Fail)
        }
    }

    pub(crate) fn answer(&mut self, answer: Verdict) -> ChecklistAnswer {
        ChecklistAnswer {
            item: self.text("item"),
            answer: answer.into(),
            note: self.text("note"),
        }
    }

    pub(crate) fn outline(&mut self) -> PlanOutline {
        PlanOutline {
            phases: vec![self.phase(true), self.phase(false)],
            success_metrics: self.texts("success metric"),
            ..PlanOutline::default()
        }
    }

    fn phase(&mut self, gate: bool) -> PhaseOutline {
        PhaseOutline {
            id: self.text("phase"),
            title: self.text("title"),
            steps: vec![self.step(true), self.step(false)],
            gate,
        }
    }

    fn step(&mut self, critical: bool) -> StepOutline {
        StepOutline {
            id: self.text("step"),
            title: self.text("title"),
            kind: self.text("kind"),
            critical,
        }
    }
}
