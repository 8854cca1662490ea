//! Generates realistic deals, the same for the same seed on every machine, for demonstrations and
//! tests.
//!
//! Each deal has its own random stream, seeded by (seed, index), so that a longer run starts with
//! the deals of a shorter one.

use serde_json::{Map, Value, json};

mod inventory;
mod random;

use random::Random;

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Number of deals.
    pub count: u64,
    /// The seed of the random streams.
    pub seed: u64,
    /// Whether about 1 in 100 deals gets a type that nothing maps, which migration 004 refuses.
    pub invalid_types: bool,
    /// Number of deals, spread evenly, that get an inventory that the model refuses.
    pub broken_inventory: u64,
}

impl GenerateOptions {
    /// Options for deals on which a whole rollout can succeed.
    #[must_use]
    pub const fn new(count: u64, seed: u64) -> Self {
        Self {
            count,
            seed,
            invalid_types: false,
            broken_inventory: 0,
        }
    }

    /// Whether the deal at `index` gets a broken inventory: exactly `broken_inventory` of `count`
    /// deals do, or all when fewer deals are made.
    fn breaks(&self, index: u64) -> bool {
        let (count, broken) = (
            u128::from(self.count.max(1)),
            u128::from(self.broken_inventory),
        );
        let upto = |index: u128| index * broken.min(count) / count;
        upto(u128::from(index) + 1) > upto(u128::from(index))
    }
}

/// One deal as the target database stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedDeal {
    /// 36 characters, unique within a seed.
    pub id: String,
    /// The tenant, one of a few.
    pub tenant_id: String,
    /// Working name.
    pub name: String,
    /// The company that is bought or sold.
    pub target_name: String,
    /// The company that buys.
    pub buyer_name: Option<String>,
    /// The type as a person or an old import stored it: a type, NULL, blank, an alias, or nonsense.
    pub deal_type: Option<String>,
    /// Industry.
    pub industry: String,
    /// A range of values, as text.
    pub deal_value: String,
    /// draft, active, analyzing, complete or archived.
    pub status: String,
    /// Whether it is soft-deleted.
    pub deleted: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// The inventory as one JSON array.
    pub inventory_json: String,
}

/// Deals with some invalid types and no broken inventory.
pub fn deals(count: u64, seed: u64) -> impl Iterator<Item = GeneratedDeal> {
    generate(GenerateOptions {
        invalid_types: true,
        ..GenerateOptions::new(count, seed)
    })
}

/// Generates deals lazily: memory does not grow with their number.
pub fn generate(options: GenerateOptions) -> impl Iterator<Item = GeneratedDeal> {
    (0..options.count).map(move |index| deal(&options, index))
}

const STEMS: [&str; 12] = [
    "Alder", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Granite", "Harbor", "Iron", "Juniper",
    "Krill", "Lumen",
];
const ENDINGS: [&str; 8] = [
    "Systems",
    "Logistics",
    "Foods",
    "Health",
    "Energy",
    "Media",
    "Tools",
    "Mobility",
];
const INDUSTRIES: [&str; 6] = [
    "manufacturing",
    "healthcare",
    "retail",
    "energy",
    "software",
    "logistics",
];
const VALUES: [&str; 4] = ["under 50M", "50M-100M", "100M-500M", "over 500M"];

fn deal(options: &GenerateOptions, index: u64) -> GeneratedDeal {
    let mut random = Random::for_deal(options.seed, index);
    let id = random.uuid(index);
    let company = |random: &mut Random| {
        let (stem, ending) = (random.pick(&STEMS), random.pick(&ENDINGS));
        format!("{stem} {ending}")
    };
    let target_name = company(&mut random);
    let buyer_name = random.percent(90).then(|| company(&mut random));
    let deal_type = deal_type(&mut random, options.invalid_types);
    let status = random.weighted(&[
        ("draft", 15),
        ("active", 35),
        ("analyzing", 10),
        ("complete", 30),
        ("archived", 10),
    ]);
    let deleted = random.percent(4);
    let created_at = format!(
        "202{}-{:02}-{:02}T{:02}:{:02}:00Z",
        random.between(2, 5),
        random.between(1, 12),
        random.between(1, 28),
        random.between(0, 23),
        random.between(0, 59),
    );
    let mut items = inventory::items(&mut random);
    if options.breaks(index) {
        break_one(&mut items, &mut random);
    }
    GeneratedDeal {
        id,
        tenant_id: format!("00000000-0000-4000-8000-{:012}", random.between(1, 5)),
        name: format!("Project {} {}", random.pick(&STEMS), random.between(1, 99)),
        target_name,
        buyer_name,
        deal_type,
        industry: random.pick(&INDUSTRIES).to_owned(),
        deal_value: random.pick(&VALUES).to_owned(),
        status: status.to_owned(),
        deleted,
        created_at,
        inventory_json: Value::from(items).to_string(),
    }
}

/// Draws a type: most are right, the others are what years of forms and imports leave behind.
fn deal_type(random: &mut Random, invalid_types: bool) -> Option<String> {
    if invalid_types && random.percent(1) {
        let value = random.pick(&["joint_venture", "lbo", "recap", "tbd"]);
        return Some(value.to_owned());
    }
    let value = random.weighted(&[
        ("acquisition", 50),
        ("carveout", 18),
        ("divestiture", 10),
        ("null", 7),
        ("", 2),
        (" ", 1),
        ("merger", 3),
        ("bolt_on", 2),
        ("Acquisition", 1),
        (" Carve-Out", 1),
        ("carve_out", 2),
        ("spin-off", 1),
        ("sale", 1),
        ("Disposal", 1),
    ]);
    (value != "null").then(|| value.to_owned())
}

/// Damages one item the way faulty imports do; the model's error names it.
fn break_one(items: &mut Vec<Value>, random: &mut Random) {
    let mut broken = Map::new();
    broken.insert("item_id".to_owned(), json!("I-APP-broken"));
    let kind = random.pick(&["application", "application", "appliance"]);
    broken.insert("inventory_type".to_owned(), json!(kind));
    broken.insert("name".to_owned(), json!("Damaged import"));
    let users = random.pick(&["-5", "NaN", "about 30"]);
    broken.insert("data".to_owned(), json!({"users": users}));
    items.push(Value::Object(broken));
}

#[cfg(test)]
mod tests;
