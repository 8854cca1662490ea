//! Breaks each figure of a deal down into work items and the inventory items behind them.

use super::assess::Assessment;
use super::category::AppCategory;
use super::cost::CostLine;
use super::drivers::Drivers;
use super::inventory::{Application, Entity, Infrastructure, InfrastructureKind, Inventory};
use super::model::WorkPhase;
use super::separation::SeparationItem;
use super::synergy::Synergy;

/// One addend of a figure. All addends of a figure sum to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The source of the amount: a work item, a category, an application.
    pub what: String,
    /// The amount, in the figure's unit.
    pub amount: i64,
    /// The inventory items it comes from; empty if it comes from the drivers.
    pub items: Vec<String>,
}

/// An input of the cost rules and the inventory items it was counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverSource {
    /// `users`, `sites` …
    pub driver: &'static str,
    /// Its value; 1 or 0 for a yes-or-no driver.
    pub value: i64,
    /// The items behind it.
    pub items: Vec<String>,
}

/// The addends of a figure; empty for a name that is no metric of the model.
#[must_use]
pub fn contributions(
    inventory: &Inventory<'_>,
    deal: &Assessment<'_>,
    metric: &str,
) -> Vec<Contribution> {
    match metric {
        "cost_one_time_upside" => cost(deal, |line| line.upside_cents),
        "cost_one_time_base" => cost(deal, |line| line.base_cents),
        "cost_one_time_stress" => cost(deal, |line| line.stress_cents),
        "cost_licences_annual" => cost(deal, |line| line.licences_cents),
        "cost_applications" => applications(inventory, deal),
        "cost_tsa" => tsa(inventory, deal),
        "cost_day_1" => due(deal, WorkPhase::Day1),
        "cost_day_100" => due(deal, WorkPhase::Day100),
        "cost_post_100" => due(deal, WorkPhase::Post100),
        "cost_total" => total(deal),
        "synergy_count" => synergies(deal, |_| 1),
        "synergy_savings_low" => synergies(deal, |it| it.savings_low_cents),
        "synergy_savings_high" => synergies(deal, |it| it.savings_high_cents),
        "synergy_cost_low" => synergies(deal, |it| it.cost_low_cents),
        "synergy_cost_high" => synergies(deal, |it| it.cost_high_cents),
        "separation_count" => separation(inventory, deal, |_| 1),
        "separation_low" => separation(inventory, deal, |it| it.total_low_cents),
        "separation_high" => separation(inventory, deal, |it| it.total_high_cents),
        "work_item_count" => work_items(inventory, deal),
        "applications" => listed(
            inventory
                .applications
                .iter()
                .map(|it| (&*it.item_id, &*it.name)),
        ),
        "infrastructure" => listed(inventory.infrastructure.iter().map(|it| (&*it.item_id, ""))),
        "organization" => listed(inventory.organization.iter().map(|it| (&*it.item_id, ""))),
        "vendors" => listed(inventory.vendors.iter().map(|it| (&*it.item_id, ""))),
        _ => Vec::new(),
    }
}

fn cost(deal: &Assessment<'_>, figure: fn(&CostLine) -> i64) -> Vec<Contribution> {
    let lines = deal.cost_lines.iter().map(|line| Contribution {
        what: line.kind.as_str().to_owned(),
        amount: figure(line),
        items: Vec::new(),
    });
    lines.filter(|line| line.amount != 0).collect()
}

fn due(deal: &Assessment<'_>, phase: WorkPhase) -> Vec<Contribution> {
    let due = deal.cost_lines.iter().filter(|line| line.phase == phase);
    due.map(|line| Contribution {
        what: line.kind.as_str().to_owned(),
        amount: line.base_cents,
        items: Vec::new(),
    })
    .collect()
}

fn applications(inventory: &Inventory<'_>, deal: &Assessment<'_>) -> Vec<Contribution> {
    let costs = deal.applications.iter().map(|cost| {
        let named = inventory.applications.iter();
        let mut named = named.filter(|item| item.item_id == cost.item_id);
        Contribution {
            what: named
                .next()
                .map_or_else(String::new, |item| item.name.to_string()),
            amount: cost.one_time_cents,
            items: vec![cost.item_id.to_owned()],
        }
    });
    costs.collect()
}

fn tsa(inventory: &Inventory<'_>, deal: &Assessment<'_>) -> Vec<Contribution> {
    let tsa = deal.tsa.iter().map(|tsa| Contribution {
        what: format!("transition services, {} cents a month", tsa.monthly_cents),
        amount: tsa.total_cents,
        items: shared(inventory),
    });
    tsa.collect()
}

fn total(deal: &Assessment<'_>) -> Vec<Contribution> {
    let of = |name: &str| Contribution {
        what: name.to_owned(),
        amount: deal.outputs.get(name).unwrap_or_default(),
        items: Vec::new(),
    };
    [
        "cost_one_time_base",
        "cost_applications",
        "cost_licences_annual",
        "cost_tsa",
    ]
    .map(of)
    .to_vec()
}

fn synergies(deal: &Assessment<'_>, figure: fn(&Synergy) -> i64) -> Vec<Contribution> {
    let lines = deal.synergies.iter().map(|synergy| Contribution {
        what: format!("consolidate {}", synergy.category),
        amount: figure(synergy),
        items: synergy.affected_items.clone(),
    });
    lines.collect()
}

fn separation(
    inventory: &Inventory<'_>,
    deal: &Assessment<'_>,
    figure: fn(&SeparationItem<'_>) -> i64,
) -> Vec<Contribution> {
    let lines = deal.separation.iter().map(|item| {
        let of_category = target(inventory).filter(|app| app.category == item.category);
        let items: Vec<String> = of_category.map(|app| app.item_id.to_string()).collect();
        let category = serde_json::to_value(item.category).unwrap_or_default();
        let category = category.as_str().unwrap_or_default().to_owned();
        let why = if items.is_empty() { "absent" } else { "shared" };
        Contribution {
            what: format!("separate {category} ({why})"),
            amount: figure(item),
            items,
        }
    });
    lines.collect()
}

fn work_items(inventory: &Inventory<'_>, deal: &Assessment<'_>) -> Vec<Contribution> {
    let one = |what: String| Contribution {
        what,
        amount: 1,
        items: Vec::new(),
    };
    let mut items: Vec<Contribution> = deal
        .cost_lines
        .iter()
        .map(|line| one(line.kind.as_str().to_owned()))
        .collect();
    items.extend(synergies(deal, |_| 1));
    items.extend(separation(inventory, deal, |_| 1));
    if deal.tsa.is_some_and(|tsa| tsa.total_cents > 0) {
        items.push(Contribution {
            items: shared(inventory),
            ..one("negotiate TSA".to_owned())
        });
    }
    items
}

fn listed<'a>(items: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Contribution> {
    let one = |(id, name): (&str, &str)| Contribution {
        what: name.to_owned(),
        amount: 1,
        items: vec![id.to_owned()],
    };
    items.map(one).collect()
}

fn target<'i, 'a>(inventory: &'i Inventory<'a>) -> impl Iterator<Item = &'i Application<'a>> {
    let all = inventory.applications.iter();
    all.filter(|item| item.entity == Entity::Target)
}

fn machines<'i, 'a>(inventory: &'i Inventory<'a>) -> impl Iterator<Item = &'i Infrastructure<'a>> {
    let all = inventory.infrastructure.iter();
    all.filter(|item| item.entity == Entity::Target)
}

/// The items that the target shares with its parent.
fn shared(inventory: &Inventory<'_>) -> Vec<String> {
    let applications = target(inventory).filter(|item| item.parent_owned);
    let machines = machines(inventory).filter(|item| item.parent_owned);
    applications
        .map(|item| item.item_id.to_string())
        .chain(machines.map(|item| item.item_id.to_string()))
        .collect()
}

/// The inputs of the cost rules, with the inventory items they were counted from.
#[must_use]
pub fn driver_sources(inventory: &Inventory<'_>, drivers: &Drivers<'_>) -> Vec<DriverSource> {
    use InfrastructureKind::{Datacenter, Directory, Network, Server, Vm};

    let of_kind = |kind: InfrastructureKind| -> Vec<String> {
        let found = machines(inventory).filter(|item| item.kind == kind);
        found.map(|item| item.item_id.to_string()).collect()
    };
    let teams = || {
        let all = inventory.organization.iter();
        all.filter(|item| item.entity == Entity::Target)
    };
    let mut people: Vec<String> = teams()
        .filter(|item| item.people > 0)
        .map(|item| item.item_id.to_string())
        .collect();
    if people.is_empty() {
        let most = target(inventory).find(|item| item.users > 0 && item.users == drivers.users);
        people.extend(most.map(|item| item.item_id.to_string()));
    }
    let mut endpoints = of_kind(InfrastructureKind::Endpoint);
    if endpoints.is_empty() {
        endpoints.clone_from(&people);
    }
    let sites = machines(inventory)
        .map(|item| (&item.location, &item.item_id))
        .chain(teams().map(|item| (&item.location, &item.item_id)))
        .filter(|(location, _)| !location.trim().is_empty())
        .map(|(_, id)| id.to_string());
    let source = |driver, value, items| DriverSource {
        driver,
        value,
        items,
    };
    let mut sources = vec![
        source("users", drivers.users, people),
        source("sites", drivers.sites, sites.collect()),
        source(
            "servers",
            drivers.servers,
            of_kind(InfrastructureKind::Server),
        ),
        source("vms", drivers.vms, of_kind(InfrastructureKind::Vm)),
        source("endpoints", drivers.endpoints, endpoints),
        source(
            "applications",
            drivers.applications,
            target(inventory)
                .map(|item| item.item_id.to_string())
                .collect(),
        ),
    ];
    let parents = |categories: &[AppCategory], kinds: &[InfrastructureKind]| -> Vec<String> {
        let applications = target(inventory)
            .filter(|item| item.parent_owned && categories.contains(&item.category))
            .map(|item| item.item_id.to_string());
        let machines = machines(inventory)
            .filter(|item| item.parent_owned && kinds.contains(&item.kind))
            .map(|item| item.item_id.to_string());
        applications.chain(machines).collect()
    };
    for (driver, holds, items) in [
        (
            "parent_identity",
            drivers.parent_identity,
            parents(&[AppCategory::Identity], &[Directory]),
        ),
        ("parent_wan", drivers.parent_wan, parents(&[], &[Network])),
        (
            "parent_soc",
            drivers.parent_soc,
            parents(&[AppCategory::Security], &[]),
        ),
        (
            "parent_erp",
            drivers.parent_erp,
            parents(&[AppCategory::Erp], &[]),
        ),
        (
            "parent_dc",
            drivers.parent_dc,
            parents(&[], &[Datacenter, Server, Vm]),
        ),
    ] {
        if holds {
            sources.push(source(driver, 1, items));
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{GenerateOptions, generate};
    use crate::{DealType, METRICS, Model, assess, parse};

    #[test]
    fn the_addends_of_every_figure_add_up_to_it() {
        let model = Model::built_in();
        let mut seen = 0;
        for deal in generate(GenerateOptions::new(200, 11)) {
            let inventory = parse(deal.inventory_json.as_bytes()).unwrap();
            for deal_type in DealType::ALL {
                let assessed = assess(&inventory, deal_type, true, &model).unwrap();
                for metric in METRICS {
                    let found = contributions(&inventory, &assessed, metric.name);
                    let sum: i64 = found.iter().map(|it| it.amount).sum();
                    let figure = assessed.outputs.get(metric.name).unwrap();
                    assert_eq!(sum, figure, "{} of {deal_type:?}", metric.name);
                    seen += usize::from(figure != 0);
                }
            }
        }
        assert!(seen > 5_000, "{seen} figures that are not zero");
    }
}
