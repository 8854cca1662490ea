//! The drivers, which are the quantities that the cost rules use, counted from the inventory (deal
//! rules, drivers).

use serde::Serialize;

use super::category::AppCategory;
use super::error::DealError;
use super::exact::{count, sum};
use super::inventory::{Entity, InfrastructureKind, Inventory};
use super::word::{folded_order, trimmed};

/// A driver and what it is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DriverDef {
    /// Its name in formulas and explanations.
    pub name: &'static str,
    /// What it is, counted over the target's active items.
    pub counted: &'static str,
}

const fn driver(name: &'static str, counted: &'static str) -> DriverDef {
    DriverDef { name, counted }
}

/// Every driver, in the order of [`Drivers`].
pub(super) const DRIVERS: [DriverDef; 14] = [
    driver(
        "users",
        "people of all teams; without teams, the users of the application with most",
    ),
    driver(
        "sites",
        "distinct locations of infrastructure and teams, at least 1",
    ),
    driver("servers", "physical servers"),
    driver("vms", "virtual machines"),
    driver(
        "endpoints",
        "user devices; as many as users if none are listed",
    ),
    driver("applications", "applications"),
    driver(
        "parent_identity",
        "an identity application or a directory is the parent's",
    ),
    driver("parent_wan", "a network is the parent's"),
    driver("parent_soc", "a security application is the parent's"),
    driver("parent_erp", "an ERP is the parent's"),
    driver(
        "parent_dc",
        "a data centre, server or virtual machine is the parent's",
    ),
    driver(
        "erp_system",
        "vendor, or else name, of the first ERP by item id",
    ),
    driver("shared_applications", "applications of the parent"),
    driver(
        "shared_infrastructure",
        "infrastructure items of the parent",
    ),
];

/// The inputs of the cost rules; only active items of the target count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drivers<'a> {
    /// People of all teams; without teams, the users of the application with most users, or 0.
    pub users: i64,
    /// Distinct locations of infrastructure and teams, at least 1.
    pub sites: i64,
    /// Physical servers.
    pub servers: i64,
    /// Virtual machines.
    pub vms: i64,
    /// User devices; as many as users when none are listed.
    pub endpoints: i64,
    /// Applications.
    pub applications: i64,
    /// Whether an identity application or a directory is the parent's.
    pub parent_identity: bool,
    /// Whether a network is the parent's.
    pub parent_wan: bool,
    /// Whether a security application is the parent's.
    pub parent_soc: bool,
    /// Whether an ERP is the parent's.
    pub parent_erp: bool,
    /// Whether a data centre, server or virtual machine is the parent's.
    pub parent_dc: bool,
    /// The vendor of the ERP, or its name if there is none (the first ERP by item id); `None`
    /// without an ERP.
    pub erp_system: Option<&'a str>,
    /// Parent-owned applications.
    pub shared_applications: i64,
    /// Parent-owned infrastructure items.
    pub shared_infrastructure: i64,
}

impl<'a> Drivers<'a> {
    /// Servers and virtual machines.
    ///
    /// # Errors
    /// [`DealError::Overflow`].
    pub fn machines(&self) -> Result<i64, DealError> {
        sum([self.servers, self.vms], "servers and virtual machines")
    }

    /// Counts the drivers of an inventory.
    ///
    /// # Errors
    /// [`DealError::Overflow`] when counts add up to more than 64 bits hold.
    pub fn of(inventory: &'a Inventory<'_>) -> Result<Self, DealError> {
        let applications = || {
            let all = inventory.applications.iter();
            all.filter(|item| item.entity == Entity::Target)
        };
        let infrastructure = || {
            let all = inventory.infrastructure.iter();
            all.filter(|item| item.entity == Entity::Target)
        };
        let organization = || {
            let all = inventory.organization.iter();
            all.filter(|item| item.entity == Entity::Target)
        };
        let counted = |kind: InfrastructureKind, what| {
            let of_kind = infrastructure().filter(|item| item.kind == kind);
            sum(of_kind.map(|item| item.count), what)
        };
        let parent_app = |category: AppCategory| {
            applications().any(|item| item.parent_owned && item.category == category)
        };
        let parent_kind = |kinds: &[InfrastructureKind]| {
            infrastructure().any(|item| item.parent_owned && kinds.contains(&item.kind))
        };

        let people = sum(organization().map(|item| item.people), "headcount")?;
        let most_users = applications().map(|item| item.users).max().unwrap_or(0);
        let users = if people > 0 { people } else { most_users };
        let devices = counted(InfrastructureKind::Endpoint, "endpoints")?;
        let listed = inventory.infrastructure.len() + inventory.organization.len();
        let mut locations = Vec::with_capacity(listed);
        locations.extend(infrastructure().map(|item| trimmed(&item.location)));
        locations.extend(organization().map(|item| trimmed(&item.location)));
        locations.retain(|location| !location.is_empty());
        locations.sort_unstable_by(|left, right| folded_order(left, right));
        locations.dedup_by(|left, right| folded_order(left, right).is_eq());
        // Lists are ordered by item id, so the first is the first by item id.
        let erp = applications().find(|item| item.category == AppCategory::Erp);
        let system = erp.map(|item| {
            let vendor = trimmed(&item.vendor);
            if vendor.is_empty() {
                trimmed(&item.name)
            } else {
                vendor
            }
        });
        let shared_applications = applications().filter(|item| item.parent_owned).count();
        let shared_infrastructure = infrastructure().filter(|item| item.parent_owned).count();
        Ok(Self {
            users,
            sites: count(locations.len()).max(1),
            servers: counted(InfrastructureKind::Server, "servers")?,
            vms: counted(InfrastructureKind::Vm, "virtual machines")?,
            endpoints: if devices > 0 { devices } else { users },
            applications: count(applications().count()),
            parent_identity: parent_app(AppCategory::Identity)
                || parent_kind(&[InfrastructureKind::Directory]),
            parent_wan: parent_kind(&[InfrastructureKind::Network]),
            parent_soc: parent_app(AppCategory::Security),
            parent_erp: parent_app(AppCategory::Erp),
            parent_dc: parent_kind(&[
                InfrastructureKind::Datacenter,
                InfrastructureKind::Server,
                InfrastructureKind::Vm,
            ]),
            erp_system: system,
            shared_applications: count(shared_applications),
            shared_infrastructure: count(shared_infrastructure),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn drivers(items: &[serde_json::Value]) -> Drivers<'static> {
        // Leaked, so that values borrowed from it can be returned.
        let json = serde_json::to_vec(items).unwrap().leak();
        Drivers::of(Box::leak(Box::new(parse(json).unwrap()))).unwrap()
    }

    fn item(id: &str, kind: &str, data: serde_json::Value) -> serde_json::Value {
        serde_json::json!({"item_id": id, "inventory_type": kind, "data": data})
    }

    #[test]
    fn users_come_from_teams_then_from_the_most_used_application() {
        use serde_json::json;
        let app = |users: i64| item(&format!("a{users}"), "application", json!({"users": users}));
        let team = |id: &str, data| item(id, "organization", data);
        assert_eq!(drivers(&[]).users, 0);
        assert_eq!(drivers(&[app(40), app(70)]).users, 70);
        let teams = [
            app(70),
            team("t1", json!({"headcount": "12"})),
            team("t2", json!({"fte": 3.2})),
            team("t3", json!({"headcount": 5, "fte": 99})),
        ];
        assert_eq!(drivers(&teams).users, 12 + 4 + 5);
    }

    #[test]
    fn machines_sites_and_endpoints_are_counted() {
        use serde_json::json;
        let infra = |id: &str, data| item(id, "infrastructure", data);
        let found = drivers(&[
            infra("i1", json!({"type": "Server", "location": "Ulm"})),
            infra(
                "i2",
                json!({"type": "physical", "count": 4, "location": " ULM "}),
            ),
            infra(
                "i3",
                json!({"type": "vm", "count": "30", "location": "Graz"}),
            ),
            infra("i4", json!({"type": "laptop", "count": 7, "location": ""})),
            item(
                "t1",
                "organization",
                json!({"headcount": 9, "location": "Bern"}),
            ),
        ]);
        assert_eq!((found.servers, found.vms, found.endpoints), (5, 30, 7));
        assert_eq!((found.sites, found.users), (3, 9));
        let bare = drivers(&[item("t1", "organization", json!({"headcount": 9}))]);
        assert_eq!((bare.sites, bare.endpoints), (1, 9));
    }

    #[test]
    fn buyer_and_inactive_items_drive_nothing() {
        use serde_json::json;
        let mut buyer = item("t1", "organization", json!({"headcount": 9}));
        buyer["entity"] = json!("Buyer");
        let mut removed = item("t2", "organization", json!({"headcount": 9}));
        removed["status"] = json!("removed");
        let mut blank = item("t3", "organization", json!({"headcount": 2}));
        blank["status"] = json!(" ACTIVE ");
        blank["entity"] = json!(null);
        assert_eq!(drivers(&[buyer, removed, blank]).users, 2);
    }

    #[test]
    fn parent_ownership_is_found_in_each_of_its_three_places() {
        use serde_json::json;
        let app = |data| drivers(&[item("a", "application", data)]);
        assert!(app(json!({"category": "Identity", "hosted_by_parent": true})).parent_identity);
        assert!(app(json!({"category": "security", "ownership": "Shared"})).parent_soc);
        assert!(app(json!({"category": "erp", "hosting": "Corporate cloud"})).parent_erp);
        assert!(!app(json!({"category": "erp", "hosting": "own"})).parent_erp);
        let infra = |data| drivers(&[item("i", "infrastructure", data)]);
        assert!(infra(json!({"type": "directory", "ownership": "parent"})).parent_identity);
        assert!(infra(json!({"type": "wan", "ownership": "parent"})).parent_wan);
        assert!(infra(json!({"type": "virtual", "hosting": "parent DC"})).parent_dc);
        assert!(!infra(json!({"type": "laptop", "ownership": "parent"})).parent_dc);
    }

    #[test]
    fn the_erp_is_the_first_by_item_id() {
        use serde_json::json;
        let erp = |id: &str, name: &str, vendor: &str| {
            let mut erp = item(
                id,
                "application",
                json!({"category": "erp", "vendor": vendor}),
            );
            erp["name"] = json!(name);
            erp
        };
        let found = drivers(&[erp("b", "R/3", "SAP"), erp("a", "NetSuite", "")]);
        assert_eq!(found.erp_system, Some("NetSuite"));
    }
}
