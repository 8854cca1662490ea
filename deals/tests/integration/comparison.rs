//! Compares snapshots of deals by the default rules.

use std::sync::Arc;

use rollbook_proto::v1::Verdict;
use rollbook_workers::compare::differences::read_page;
use rollbook_workers::compare::{CompareError, Rules, compare, explain};
use rollbook_workers::snapshot::{Calculator, CalculatorDescription, RawDeal, Values, take};

use crate::calculators::declared;
use crate::snapshot_database::database;
use crate::snapshot_deals::{calculator, deals, request, snapshot, store};

fn rules() -> Rules {
    declared().default_rules(Rules::tolerance("5").unwrap())
}

/// The deal model with every cost 7 % higher.
#[derive(Debug)]
struct Dearer(Arc<dyn Calculator>, CalculatorDescription);

impl Dearer {
    fn new(inner: Arc<dyn Calculator>) -> Self {
        let description = CalculatorDescription {
            digest: "dearer".to_owned(),
            ..inner.description().clone()
        };
        Self(inner, description)
    }
}

impl Calculator for Dearer {
    fn description(&self) -> &CalculatorDescription {
        &self.1
    }
    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        let mut values = self.0.compute(deal)?;
        for (value, metric) in values.numbers.iter_mut().zip(&self.1.metrics) {
            if metric.name.starts_with("cost_") {
                *value += *value * 7 / 100;
            }
        }
        Ok(values)
    }
}

/// The deal model with TSA cost for every deal.
#[derive(Debug)]
struct TsaForAll(Arc<dyn Calculator>);

impl Calculator for TsaForAll {
    fn description(&self) -> &CalculatorDescription {
        self.0.description()
    }
    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        let mut values = self.0.compute(deal)?;
        for (value, metric) in values.numbers.iter_mut().zip(&self.description().metrics) {
            if metric.name == "cost_tsa" {
                *value += 100;
            }
        }
        Ok(values)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_deal_types_on_leaves_acquisitions_and_changes_the_rest_as_expected() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), false, &store).await.unwrap();
    let after = snapshot(source, true, &store).await.unwrap();
    let found = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap();
    let result = &found.result;
    assert_eq!(result.compared, 2_499);
    assert_eq!(result.regressions, 0, "{:?}", result.worst);
    assert_eq!(result.unexpected, 0, "{:?}", result.by_rule);
    assert!(result.expected > 800, "{}", result.expected);
    assert_eq!(result.equal + result.expected, 2_499);
    assert_eq!(result.verdict(), Verdict::Pass);
    assert!(store.exists(&found.evidence.sha256).await.unwrap());
    let event = found.to_event("3.2");
    assert_eq!((event.compared, event.expected), (2_499, result.expected));
    let carveouts = event
        .totals
        .iter()
        .find(|t| t.deal_type == "carveout")
        .unwrap();
    assert!(carveouts.after_cents > carveouts.before_cents);
    // Every deal in both snapshots is counted in one class of one type.
    let classes = event.by_type.iter();
    let counted: u64 = classes.map(|t| t.equal + t.expected + t.regressions).sum();
    assert_eq!(counted, 2_499);
    let carveouts = event.by_type.iter().find(|t| t.deal_type == "carveout");
    assert!(carveouts.unwrap().expected > 0, "{:?}", event.by_type);

    let why = explain(
        &before,
        &after,
        &rules(),
        declared().as_ref(),
        &store,
        "Z-upper",
    )
    .await
    .unwrap();
    assert_eq!(why.type_before.as_deref(), Some("carveout"));
    assert!(!why.guarded);
    let base = why
        .metrics
        .iter()
        .find(|m| m.metric == "cost_one_time_base")
        .unwrap();
    assert_eq!(base.rule, "carveout-one-time");
    let error = explain(
        &before,
        &after,
        &rules(),
        declared().as_ref(),
        &store,
        "nobody",
    )
    .await
    .unwrap_err();
    assert!(matches!(error, CompareError::NoSuchDeal { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_percent_on_every_cost_is_caught_in_every_deal() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), false, &store).await.unwrap();
    let mut request = request(source, Arc::new(Dearer::new(calculator(false))));
    request.label = "after".to_owned();
    let after = take(&request, &store, &|_| {}).await.unwrap();
    let error = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap_err();
    assert!(matches!(error, CompareError::Model { .. }), "{error}");

    let mut rules = rules();
    rules.allow_model_change = true;
    let found = compare(&before, &after, &rules, &declared(), &store)
        .await
        .unwrap();
    let result = &found.result;
    // Acquisitions by name, by an alias and by a missing type.
    let acquisition = |stored: &str| {
        let stored = (stored != "NULL").then_some(stored);
        declared().class_of(stored) == Some("acquisition")
    };
    let types = before.manifest.deal_types.iter();
    let guarded: u64 = types
        .filter(|(stored, _)| acquisition(stored))
        .map(|(_, deals)| *deals)
        .sum();
    assert!(guarded > before.manifest.deal_types["acquisition"]);
    // Deal 10 of the set has no inventory and so no cost; it is a divestiture. Of all others the
    // guarded ones change too much, and the rest too little.
    assert_eq!(result.regressions, result.compared - result.equal);
    assert!(result.regressions > guarded);
    assert_eq!(result.verdict(), Verdict::Fail);
    assert!(result.model_changed);
    assert_eq!(result.worst.len(), 20);
    let mut listed = std::collections::BTreeSet::new();
    for page in &result.differences {
        for row in read_page(&store, page).await.unwrap() {
            assert!(row.deal_id >= page.first_id && row.deal_id <= page.last_id);
            listed.insert(row.deal_id);
        }
    }
    assert_eq!(listed.len() as u64, result.compared - result.equal);
    let seven = result
        .histogram
        .iter()
        .find(|b| b.label == "5 % … 10 %")
        .unwrap();
    assert_eq!(seven.deals, result.compared - result.equal);

    // A higher tolerance can be allowed.
    rules = declared().default_rules(Rules::tolerance("7").unwrap());
    rules.allow_model_change = true;
    let found = compare(&before, &after, &rules, &declared(), &store)
        .await
        .unwrap();
    let others = found.result.compared - found.result.equal - guarded;
    assert_eq!(found.result.regressions, others);
    assert_eq!(found.result.within_tolerance, guarded);
}

#[tokio::test(flavor = "multi_thread")]
async fn deals_with_a_tsa_cost_are_counted_and_so_are_those_that_should_have_none() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), false, &store).await.unwrap();
    let after = snapshot(source.clone(), true, &store).await.unwrap();
    let everyone = request(source, Arc::new(TsaForAll(calculator(true))));
    let everyone = take(&everyone, &store, &|_| {}).await.unwrap();

    let shared = |deal: &&crate::snapshot_deals::Deal| {
        deal.deal_type == Some("carveout") && deal.inventory().contains("hosted_by_parent")
    };
    let carveouts = u64::try_from(deals().iter().filter(shared).count()).unwrap();
    let figures = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result
        .figures;
    assert!(carveouts > 0);
    assert_eq!(figures.deals("tsa_deals"), Some(carveouts));
    assert_eq!(figures.deals("tsa_elsewhere"), Some(0));

    // With the flag off no deal has TSA cost; with a wrong model, deals other than carveouts are
    // counted separately.
    let figures = compare(&after, &before, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result
        .figures;
    assert_eq!(
        (figures.deals("tsa_deals"), figures.deals("tsa_elsewhere")),
        (Some(0), Some(0))
    );
    let figures = compare(&before, &everyone, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result
        .figures;
    let carveouts = after.manifest.deal_types["carveout"];
    assert_eq!(figures.deals("tsa_deals"), Some(2_499));
    assert_eq!(figures.deals("tsa_elsewhere"), Some(2_499 - carveouts));
}
