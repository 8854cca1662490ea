use super::*;

fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Model, ModelError> {
    let mut value = serde_json::to_value(Model::built_in()).unwrap();
    edit(&mut value);
    Model::from_json(value.to_string().as_bytes())
}

#[test]
fn the_built_in_model_survives_its_own_file_format() {
    let model = Model::built_in();
    let json = serde_json::to_vec_pretty(&model).unwrap();
    assert_eq!(Model::from_json(&json), Ok(model.clone()));
    assert_eq!(Model::from_json(&json).unwrap().digest(), model.digest());
}

#[test]
fn the_digest_names_every_number() {
    let digest = Model::built_in().digest().unwrap();
    assert_eq!(digest.len(), 64);
    let changed = edited(|value| value["multipliers"]["acquisition"]["network"] = 10_700.into());
    assert_ne!(changed.unwrap().digest().unwrap(), digest);
}

#[test]
fn the_multiplier_table_is_the_decided_one() {
    use CostCategory::*;
    let model = Model::built_in();
    for (category, carveout, divestiture) in [
        (Identity, 25_000, 30_000),
        (Application, 18_000, 22_000),
        (Infrastructure, 20_000, 25_000),
        (Network, 22_000, 28_000),
        (Cybersecurity, 19_000, 23_000),
        (Organization, 16_000, 20_000),
    ] {
        assert_eq!(model.multiplier_bp(DealType::Acquisition, category), 10_000);
        assert_eq!(model.multiplier_bp(DealType::Carveout, category), carveout);
        assert_eq!(
            model.multiplier_bp(DealType::Divestiture, category),
            divestiture
        );
    }
}

#[test]
fn bad_models_are_refused_with_the_field() {
    type Edit = fn(&mut serde_json::Value);
    let cases: [(Edit, &str); 9] = [
        (
            |v| v["multipliers"]["carveout"]["identity"] = 0.into(),
            "multipliers.carveout.identity",
        ),
        (
            |v| v["cost_items"]["email_migration"]["base_cents"] = (-1).into(),
            "email_migration.base_cents",
        ),
        (
            |v| v["tsa"]["ceiling_cents"] = 1.into(),
            "tsa.ceiling_cents",
        ),
        (|v| v["surprise"] = 1.into(), "unknown field `surprise`"),
        (
            |v| {
                v["multipliers"]
                    .as_object_mut()
                    .unwrap()
                    .remove("divestiture");
            },
            "divestiture",
        ),
        (
            |v| {
                v["per_application"]["category_bp"]
                    .as_object_mut()
                    .unwrap()
                    .remove("erp");
            },
            "category_bp.erp",
        ),
        (
            |v| v["per_application"]["category_bp"]["nonsense"] = 1.into(),
            "nonsense",
        ),
        (
            |v| v["volume_discounts"]["users"][1]["at_least"] = 1.into(),
            "volume_discounts.users",
        ),
        (
            |v| v["scenarios"]["base_bp"] = serde_json::json!(1.5),
            "1.5",
        ),
    ];
    for (edit, expected) in cases {
        let message = edited(edit).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(matches!(
        Model::from_json(b"{"),
        Err(ModelError::Malformed { .. })
    ));
}
