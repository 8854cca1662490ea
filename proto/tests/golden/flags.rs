//! Examples: flags.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{FlagArchived, FlagChanged, FlagDefined, FlagMode, FlagSetting};

use crate::values::Distinct;

fn setting(d: &mut Distinct, mode: FlagMode) -> FlagSetting {
    FlagSetting {
        mode: mode.into(),
        percentage_millis: d.small(),
        beta_labels: d.texts("label"),
    }
}

pub(crate) fn flag_defined(d: &mut Distinct) -> Kind {
    Kind::FlagDefined(FlagDefined {
        key: d.text("key"),
        environment: d.text("environment"),
        description: d.text("description"),
        owner: d.text("owner"),
        safe: Some(setting(d, FlagMode::Off)),
        initial: Some(setting(d, FlagMode::Beta)),
        retire_by: d.text("date"),
        bucketing: d.text("algorithm"),
        salt: d.text("salt"),
    })
}

pub(crate) fn flag_changed(d: &mut Distinct) -> Kind {
    Kind::FlagChanged(FlagChanged {
        from: Some(setting(d, FlagMode::Percentage)),
        to: Some(setting(d, FlagMode::On)),
        reason: d.text("reason"),
        rollout_id: d.text("rollout"),
        step_id: d.text("step"),
    })
}

pub(crate) fn flag_archived(d: &mut Distinct) -> Kind {
    Kind::FlagArchived(FlagArchived {
        reason: d.text("reason"),
    })
}
