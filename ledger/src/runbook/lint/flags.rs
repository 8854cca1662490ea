//! The flags that a runbook declares, and what they are set to.

use super::super::diagnostic::{Code, Path};
use super::super::model::FlagTarget;
use super::Linter;

pub(super) fn check(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (key, flag) in &runbook.flags {
        let path = Path::root().key("flags").key(key);
        setting(linter, &flag.safe, &path.key("safe"));
        if flag.safe == FlagTarget::Safe {
            linter.error(
                Code::FlagSetting,
                &path.key("safe"),
                "the safe value cannot be `safe`",
                Some("write `off`, or the value that is safe".to_owned()),
            );
        }
        if let Some(date) = &flag.retire_by
            && date.parse::<jiff::civil::Date>().is_err()
            && date.parse::<jiff::Timestamp>().is_err()
        {
            linter.error(
                Code::FlagSetting,
                &path.key("retire_by"),
                format!("`{date}` is not a date"),
                Some("write 2026-12-31".to_owned()),
            );
        }
    }
}

/// Checks what a flag is set to.
pub(in crate::runbook) fn setting(linter: &mut Linter<'_>, target: &FlagTarget, path: &Path) {
    let message = match target {
        FlagTarget::Percentage(share) if !(0.0..=100.0).contains(share) => {
            format!("{share} percent is not between 0 and 100")
        }
        FlagTarget::Percentage(share)
            if (share * 1_000.0 - (share * 1_000.0).round()).abs() > 1e-6 =>
        {
            format!("{share} percent has more than three decimals")
        }
        FlagTarget::Beta(labels) if labels.is_empty() => "`beta` has no label".to_owned(),
        _ => return,
    };
    let key = match target {
        FlagTarget::Beta(_) => "beta",
        _ => "percentage",
    };
    linter.error(Code::FlagSetting, &path.key(key), message, None);
}
