//! Projects flags and their history.

use rollbook_proto::v1::FlagDefined;
use rollbook_proto::v1::event::Kind;

use super::{At, Out, authority};
use crate::projection::row::{Json, clean};
use crate::projection::rows::{FlagHistoryRow, FlagRow};
use crate::projection::state::State;
use crate::projection::words::{FlagChangeKind, FlagSetting};

pub(super) fn apply(
    state: &mut State,
    (environment, key): (&str, &str),
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    let id = (environment.to_owned(), key.to_owned());
    if authority::is_request(kind) {
        if !state.flags.contains_key(&id) {
            return Err("the flag has not been defined".to_owned());
        }
        let owner = authority::Owner {
            aggregate: &format!("flag {environment}/{key}"),
            rollout: "",
            environment,
            flag: key,
        };
        let open = state.flag_requests.entry(id).or_default();
        return authority::request(&owner, open, at, kind, out);
    }
    let mut history = FlagHistoryRow {
        sequence: at.sequence,
        idx: at.idx,
        environment: environment.to_owned(),
        key: key.to_owned(),
        change: FlagChangeKind::Changed,
        before: None,
        after: None,
        reason: String::new(),
        rollout: String::new(),
        step: String::new(),
        changed_by: at.actor.clone(),
        authentication: clean(at.authentication),
        changed_at: at.recorded_at,
    };
    if let Kind::FlagDefined(defined) = kind {
        if state.flags.get(&id).is_some_and(|flag| !flag.archived) {
            return Err("the flag is defined already".to_owned());
        }
        if defined.environment != environment || defined.key != key {
            out.note("the event names another flag than its aggregate");
        }
        let flag = define((environment, key), at, defined)
            .ok_or("the initial or the safe setting is not a setting")?;
        history.change = FlagChangeKind::Defined;
        history.after = Some(flag.setting.clone());
        out.put(&history);
        out.put(&flag);
        state.flags.insert(id, flag);
        return Ok(());
    }
    let flag = state
        .flags
        .get_mut(&id)
        .ok_or("the flag has not been defined")?;
    history.before = Some(flag.setting.clone());
    match kind {
        Kind::FlagChanged(changed) => {
            let to = FlagSetting::from_wire(changed.to.as_ref())
                .ok_or("the flag is changed to something that is not a setting")?;
            let from = FlagSetting::from_wire(changed.from.as_ref());
            if from.as_ref() != Some(&flag.setting.0) {
                out.note(format!(
                    "the flag is changed from {}, it was {}",
                    from.map_or_else(|| "nothing".to_owned(), |from| from.to_string()),
                    flag.setting.0
                ));
            }
            if flag.archived {
                out.note("the flag is archived");
            }
            flag.mode = to.mode;
            flag.setting = Json(to);
            flag.reason = clean(&changed.reason);
            flag.rollout = clean(&changed.rollout_id);
            history.after = Some(flag.setting.clone());
            history.step = clean(&changed.step_id);
        }
        Kind::FlagArchived(archived) => {
            if flag.archived {
                return Err("the flag is archived already".to_owned());
            }
            flag.archived = true;
            flag.reason = clean(&archived.reason);
            flag.rollout.clear();
            history.change = FlagChangeKind::Archived;
        }
        _ => return Err("an event of something else in a flag".to_owned()),
    }
    flag.changed_by = at.actor.clone();
    flag.changed_at = at.recorded_at;
    flag.updated_sequence = at.sequence;
    history.reason.clone_from(&flag.reason);
    history.rollout.clone_from(&flag.rollout);
    out.put(&history);
    out.put(flag);
    Ok(())
}

fn define((environment, key): (&str, &str), at: &At<'_>, defined: &FlagDefined) -> Option<FlagRow> {
    let setting = FlagSetting::from_wire(defined.initial.as_ref())?;
    Some(FlagRow {
        environment: environment.to_owned(),
        key: key.to_owned(),
        description: clean(&defined.description),
        owner: clean(&defined.owner),
        mode: setting.mode,
        setting: Json(setting),
        safe: Json(FlagSetting::from_wire(defined.safe.as_ref())?),
        retire_by: clean(&defined.retire_by),
        bucketing: clean(&defined.bucketing),
        salt: clean(&defined.salt),
        archived: false,
        changed_by: at.actor.clone(),
        reason: String::new(),
        rollout: String::new(),
        defined_at: at.recorded_at,
        changed_at: at.recorded_at,
        updated_sequence: at.sequence,
    })
}
