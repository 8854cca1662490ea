//! Generates inventories: skewed in size, with every kind, nearly every field and both companies.

use serde_json::{Value, json};

use super::random::Random;

const CITIES: [&str; 14] = [
    "Austin", "Berlin", "Chennai", "Dublin", "Essen", "Fargo", "Graz", "Hull", "Izmir", "Jena",
    "Kyiv", "Lyon", "Malmo", "Nantes",
];

/// Category, vendors, and the range of the yearly cost in thousands of dollars.
const CATALOGUE: [(&str, [&str; 3], (u64, u64)); 18] = [
    ("erp", ["SAP", "Infor", "NetSuite"], (120, 900)),
    ("crm", ["Salesforce", "HubSpot", "Zoho"], (30, 300)),
    ("hcm", ["Workday", "ADP", "Personio"], (40, 260)),
    ("finance", ["Sage", "BlackLine", "Coupa"], (30, 240)),
    ("email", ["Microsoft", "Google", "Zimbra"], (20, 150)),
    ("identity", ["Okta", "Microsoft", "Ping"], (15, 120)),
    ("security", ["CrowdStrike", "Splunk", "Rapid7"], (20, 180)),
    (
        "supply_chain",
        ["Blue Yonder", "Kinaxis", "Manhattan"],
        (60, 400),
    ),
    ("manufacturing", ["Siemens", "Rockwell", "Tulip"], (40, 300)),
    ("BI/analytics", ["Tableau", "Qlik", "Looker"], (15, 140)),
    ("database", ["Oracle", "PostgreSQL", "MongoDB"], (10, 200)),
    ("devops", ["GitLab", "Atlassian", "JFrog"], (10, 90)),
    ("collaboration", ["Slack", "Miro", "Asana"], (8, 80)),
    ("communication", ["Zoom", "RingCentral", "Twilio"], (8, 70)),
    ("productivity", ["Microsoft", "Adobe", "Notion"], (8, 90)),
    ("file_sharing", ["Box", "Dropbox", "Egnyte"], (5, 60)),
    ("legal", ["Ironclad", "DocuSign", "Relativity"], (10, 80)),
    (
        "industry_vertical",
        ["Veeva", "Guidewire", "Procore"],
        (40, 350),
    ),
];

/// Generates one inventory. Three quarters are those of a small company (about 3 KB of JSON); a few
/// are large.
pub(super) fn items(random: &mut Random) -> Vec<Value> {
    let size = random.weighted(&[("empty", 1), ("small", 76), ("medium", 19), ("large", 4)]);
    let (people, apps, machines, teams, sites) = match size {
        "empty" => return Vec::new(),
        "small" => ((30, 240), (4, 9), (1, 4), (1, 3), (1, 4)),
        "medium" => ((240, 900), (12, 30), (5, 14), (3, 7), (2, 7)),
        _ => ((900, 3_500), (40, 140), (15, 60), (6, 16), (4, 14)),
    };
    let mut inventory = Builder {
        items: Vec::new(),
        // About half of the companies share systems with a parent.
        shared_percent: if random.percent(50) { 12 } else { 0 },
        sites: random.between(sites.0, sites.1),
        people: random.between(people.0, people.1),
    };
    let teams = random.between(teams.0, teams.1);
    for _ in 0..teams {
        inventory.team(random, teams);
    }
    for _ in 0..random.between(apps.0, apps.1) {
        inventory.application(random, "target");
    }
    for _ in 0..random.between(0, apps.0) {
        inventory.application(random, "buyer");
    }
    for _ in 0..random.between(machines.0, machines.1) {
        inventory.infrastructure(random);
    }
    for _ in 0..random.between(1, 4) {
        inventory.vendor(random);
    }
    inventory.items
}

struct Builder {
    items: Vec<Value>,
    shared_percent: u64,
    sites: u64,
    people: u64,
}

impl Builder {
    fn push(&mut self, random: &mut Random, kind: &str, entity: &str, name: &str, mut data: Value) {
        let prefix = match kind {
            "application" => "APP",
            "infrastructure" => "INF",
            "organization" => "ORG",
            _ => "VEN",
        };
        // The number makes ids unique; the rest looks like a content hash.
        let id = format!(
            "I-{prefix}-{:04x}{:03x}",
            random.between(0, 0xffff),
            self.items.len()
        );
        let status = random.weighted(&[
            ("active", 92),
            ("planned", 3),
            ("deprecated", 3),
            ("removed", 2),
        ]);
        if let Some(fields) = data.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        self.items.push(json!({
            "item_id": id, "inventory_type": kind, "entity": entity, "name": name,
            "status": status, "data": data,
        }));
    }

    fn city(&self, random: &mut Random) -> &'static str {
        let last = self.sites.clamp(1, 14) - 1;
        let index = usize::try_from(random.between(0, last)).unwrap_or(0);
        CITIES.get(index).copied().unwrap_or("Austin")
    }

    fn team(&mut self, random: &mut Random, teams: u64) {
        let share = (self.people / teams.max(1)).max(1);
        let people = random.between(share * 8 / 10, share * 12 / 10).max(1);
        let team = random.pick(&["IT", "Sales", "Plant", "Finance", "Support", "Engineering"]);
        let fte_only = random.percent(20);
        let data = json!({
            "role": format!("{team} staff"), "team": team,
            "headcount": (!fte_only).then_some(people),
            "fte": fte_only.then(|| format!("{people}.5")),
            "location": self.city(random),
            "data_source": random.pick(&["observed", "assumed", "hybrid"]),
            "confidence_score": 0.8,
        });
        self.push(random, "organization", "target", team, data);
    }

    fn application(&mut self, random: &mut Random, entity: &str) {
        let last = u64::try_from(CATALOGUE.len())
            .unwrap_or(1)
            .saturating_sub(1);
        let index = usize::try_from(random.between(0, last)).unwrap_or(0);
        let (category, vendors, cost) = CATALOGUE.get(index).copied().unwrap_or(CATALOGUE[0]);
        let vendor = random.pick(&vendors);
        // Losing a shared ERP means building one, so few parents share theirs with a company they
        // sell.
        let chance = if category == "erp" {
            self.shared_percent / 4
        } else {
            self.shared_percent
        };
        let shared = entity == "target" && random.percent(chance);
        // Costs follow the size of the company, roughly by its square root.
        let scale = (self.people / 100).clamp(1, 40).isqrt();
        let thousands = random.between(cost.0, cost.1) * scale / 3;
        let cost_unknown = random.percent(12);
        let deployment = random.weighted(&[
            ("saas", 45),
            ("cloud_iaas", 15),
            ("hybrid", 10),
            ("on_prem", 25),
            ("custom", 3),
            ("", 2),
        ]);
        let data = json!({
            "vendor": vendor,
            "version": format!("{}.{}", random.between(1, 12), random.between(0, 9)),
            "category": category,
            "hosting": if shared { "parent data centre" } else { "own tenant" },
            "hosted_by_parent": shared.then_some(true),
            "deployment_type": deployment,
            "users": random.between(5, self.people.max(6)),
            "cost": (!cost_unknown).then(|| if random.percent(10) {
                json!((thousands * 1_000).to_string())
            } else {
                json!(thousands * 1_000)
            }),
            "cost_status": if cost_unknown { "unknown" } else { "known" },
            "criticality": random.pick(&["high", "medium", "low"]),
            "complexity": random.percent(30).then(|| random.pick(&["simple", "medium", "complex"])),
            "api_integrations": random.percent(35).then(|| random.between(1, 7)),
            "sso_required": random.percent(30).then_some(true),
            "data_volume_gb": random.percent(25).then(|| random.between(10, 400)),
            "custom_interfaces": random.percent(10).then(|| random.between(1, 2)),
            "notes": shared.then_some("shared with the parent company"),
        });
        let name = format!("{vendor} {category}");
        self.push(random, "application", entity, &name, data);
    }

    fn infrastructure(&mut self, random: &mut Random) {
        let kind = random.weighted(&[
            ("server", 30),
            ("vm", 30),
            ("laptop", 12),
            ("network", 12),
            ("storage", 8),
            ("directory", 5),
            ("datacenter", 3),
        ]);
        let shared = random.percent(self.shared_percent);
        let count = match kind {
            "laptop" => random.between(self.people / 4, self.people.max(2)),
            "server" => random.between(1, 3),
            "vm" => random.between(1, 8),
            _ => 1,
        };
        let data = json!({
            "type": kind, "count": count,
            "os": random.pick(&["linux", "windows"]),
            "location": self.city(random),
            "environment": random.pick(&["production", "test"]),
            "ownership": if shared { "parent" } else { "own" },
        });
        let name = format!("{kind}-{:02}", random.between(1, 99));
        self.push(random, "infrastructure", "target", &name, data);
    }

    fn vendor(&mut self, random: &mut Random) {
        let name = random.pick(&["Accenture", "Computacenter", "Rackspace", "Lumen", "CDW"]);
        let acv = random.between(10, 400) * 1_000;
        let data = json!({
            "vendor_name": name, "contract_type": random.pick(&["msa", "subscription", "support"]),
            "acv": acv, "tcv": acv * random.between(1, 4), "renewal_date": "2027-03-31",
        });
        let entity = if random.percent(80) {
            "target"
        } else {
            "buyer"
        };
        self.push(random, "vendor", entity, name, data);
    }
}
