//! Comparison of stored snapshots.

use std::sync::Arc;

use rollbook_proto::v1::Verdict;
use rollbook_workers::compare::merge::Difference;
use rollbook_workers::compare::{CompareError, Rules, compare, explain};
use rollbook_workers::executor::compare_figures;
use rollbook_workers::snapshot::{Calculator, MetricInfo, RawDeal, take};

use crate::snapshot_deals::{calculator, deals, request, snapshot, store};
use crate::snapshot_sqlite::{database, execute};

fn rules() -> Rules {
    Rules::default_with_tolerance(Rules::tolerance("5").unwrap())
}

/// The deal model with every cost 7 % higher.
#[derive(Debug)]
struct Dearer(Arc<dyn Calculator>);

impl Calculator for Dearer {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn digest(&self) -> &str {
        "dearer"
    }
    fn deal_type_awareness(&self) -> bool {
        self.0.deal_type_awareness()
    }
    fn metrics(&self) -> &[MetricInfo] {
        self.0.metrics()
    }
    fn compute(&self, deal: &RawDeal) -> Result<Vec<i64>, String> {
        let mut values = self.0.compute(deal)?;
        for (value, metric) in values.iter_mut().zip(self.metrics()) {
            if metric.name.starts_with("cost_") {
                *value += *value * 7 / 100;
            }
        }
        Ok(values)
    }
}

/// The deal model with transition services sold to everyone.
#[derive(Debug)]
struct TsaForAll(Arc<dyn Calculator>);

impl Calculator for TsaForAll {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn digest(&self) -> &str {
        self.0.digest()
    }
    fn deal_type_awareness(&self) -> bool {
        self.0.deal_type_awareness()
    }
    fn metrics(&self) -> &[MetricInfo] {
        self.0.metrics()
    }
    fn compute(&self, deal: &RawDeal) -> Result<Vec<i64>, String> {
        let mut values = self.0.compute(deal)?;
        for (value, metric) in values.iter_mut().zip(self.metrics()) {
            if metric.name == "cost_tsa" {
                *value += 100;
            }
        }
        Ok(values)
    }
}

/// The deal model without its last metric.
#[derive(Debug)]
struct Fewer(Arc<dyn Calculator>, Vec<MetricInfo>);

impl Calculator for Fewer {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn digest(&self) -> &str {
        self.0.digest()
    }
    fn deal_type_awareness(&self) -> bool {
        true
    }
    fn metrics(&self) -> &[MetricInfo] {
        &self.1
    }
    fn compute(&self, deal: &RawDeal) -> Result<Vec<i64>, String> {
        let mut values = self.0.compute(deal)?;
        values.pop();
        Ok(values)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_deal_types_on_leaves_acquisitions_and_changes_the_rest_as_expected() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), false, &store).await.unwrap();
    let after = snapshot(source, true, &store).await.unwrap();
    let found = compare(&before, &after, &rules(), &store).await.unwrap();
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

    let why = explain(&before, &after, &rules(), &store, "Z-upper")
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
    let error = explain(&before, &after, &rules(), &store, "nobody")
        .await
        .unwrap_err();
    assert!(matches!(error, CompareError::NoSuchDeal { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_percent_on_every_cost_is_caught_in_every_guarded_deal() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), false, &store).await.unwrap();
    let mut request = request(source, Arc::new(Dearer(calculator(false))));
    request.label = "after".to_owned();
    let after = take(&request, &store, &|_| {}).await.unwrap();
    let error = compare(&before, &after, &rules(), &store)
        .await
        .unwrap_err();
    assert!(matches!(error, CompareError::Model { .. }), "{error}");

    let mut rules = rules();
    rules.allow_model_change = true;
    let found = compare(&before, &after, &rules, &store).await.unwrap();
    let result = &found.result;
    let guarded = before.manifest.deal_types["acquisition"] + before.manifest.deal_types["NULL"];
    // Deal 10 of the set has no inventory, hence no cost; it is a divestiture.
    assert_eq!(result.regressions, guarded);
    assert_eq!(result.verdict(), Verdict::Fail);
    assert!(result.model_changed);
    assert_eq!(result.worst.len(), 20);
    let mut listed = 0;
    for page in &result.differences {
        let lines = store.get(&page.sha256).await.unwrap();
        for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let difference: Difference = serde_json::from_slice(line).unwrap();
            assert!(difference.deal_id >= page.first_id && difference.deal_id <= page.last_id);
            listed += 1;
        }
    }
    assert_eq!(listed, result.compared - result.equal);
    let seven = result
        .histogram
        .iter()
        .find(|b| b.label == "5 % … 10 %")
        .unwrap();
    assert_eq!(seven.deals, result.compared - result.equal);

    // Ten percent may be what is tolerated.
    rules = Rules::default_with_tolerance(Rules::tolerance("7").unwrap());
    rules.allow_model_change = true;
    let found = compare(&before, &after, &rules, &store).await.unwrap();
    assert_eq!(found.result.regressions, 0);
    assert_eq!(found.result.within_tolerance, guarded);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_added_and_broken_deals_are_told_apart() {
    let (directory, store) = store();
    let path = directory.path().join("deals.db");
    let source = database(&path).await;
    let before = snapshot(source.clone(), true, &store).await.unwrap();
    execute(
        &path,
        "DELETE FROM deals WHERE id = 'é-accent';
         INSERT INTO deals VALUES ('new', 'acquisition', '[]', NULL);
         UPDATE deals SET inventory = '{' WHERE id = 'Z-upper'",
    )
    .await;
    let after = snapshot(source.clone(), true, &store).await.unwrap();
    let result = compare(&before, &after, &rules(), &store)
        .await
        .unwrap()
        .result;
    assert_eq!(
        (result.missing, result.added, result.regressions),
        (1, 1, 2)
    );
    assert_eq!(result.verdict(), Verdict::Fail);
    let rules_hit: Vec<_> = result.worst.iter().map(|w| w.rule.as_str()).collect();
    assert_eq!(rules_hit, ["error-on-one-side", "missing-after"]);

    let again = snapshot(source, true, &store).await.unwrap();
    let result = compare(&after, &again, &rules(), &store)
        .await
        .unwrap()
        .result;
    assert_eq!((result.errors, result.regressions), (1, 0));
    assert_eq!(result.verdict(), Verdict::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_other_metrics_are_refused_with_what_differs() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), true, &store).await.unwrap();
    let all = calculator(true);
    let mut metrics = all.metrics().to_vec();
    let dropped = metrics.pop().unwrap().name;
    let fewer = request(source, Arc::new(Fewer(all, metrics)));
    let after = take(&fewer, &store, &|_| {}).await.unwrap();
    let error = compare(&before, &after, &rules(), &store)
        .await
        .unwrap_err();
    assert!(matches!(error, CompareError::Metrics { .. }), "{error}");
    assert!(error.to_string().contains(&dropped), "{error}");
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
    let figures = compare_figures::of(&before, &after, &rules(), &store)
        .await
        .unwrap();
    assert!(carveouts > 0);
    assert_eq!(figures.tsa_deals, Some(carveouts));
    assert_eq!(figures.tsa_elsewhere, Some(0));

    // With the flag off nobody pays; with a wrong model the others are told apart.
    let figures = compare_figures::of(&after, &before, &rules(), &store)
        .await
        .unwrap();
    assert_eq!(
        (figures.tsa_deals, figures.tsa_elsewhere),
        (Some(0), Some(0))
    );
    let figures = compare_figures::of(&before, &everyone, &rules(), &store)
        .await
        .unwrap();
    let carveouts = after.manifest.deal_types["carveout"];
    assert_eq!(figures.tsa_deals, Some(2_499));
    assert_eq!(figures.tsa_elsewhere, Some(2_499 - carveouts));
}
