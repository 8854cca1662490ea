//! The model that computes the figures of deals.

use rollbook_deals::DealType;
use rollbook_deals::description::ModelDescription;

use super::Session;
use super::calculator::model_of;
use crate::args::ModelShowArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, line, unprintable};
use crate::report::model as report;

/// `model show`.
pub(crate) fn show(session: &Session, args: &ModelShowArgs) -> Outcome {
    let model = model_of(args.model.as_deref())?;
    if args.numbers {
        print::json(&model)?;
        return Ok(Exit::Success);
    }
    let limited_to = args.deal_type.as_deref().map(deal_type).transpose()?;
    let described = ModelDescription::of(&model, limited_to).map_err(Failure::usage)?;
    if session.json {
        print::json(&described)?;
    } else {
        let text = report::text(&described).map_err(unprintable)?;
        line(text.trim_end());
    }
    Ok(Exit::Success)
}

/// A deal type as typed; an alias counts as what it means.
fn deal_type(text: &str) -> Result<DealType, Failure> {
    DealType::resolve(Some(text)).map_err(|_| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-78",
            format!(
                "--deal-type {text:?} is no deal type; write acquisition, carveout or divestiture"
            ),
        )
    })
}
