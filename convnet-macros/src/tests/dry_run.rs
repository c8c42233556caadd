//! The dry run against the plan of `convnet-core`.

use super::dry_run;
use super::random_nets::{Net, Random};
use crate::layer::KnownNetworks;
use crate::summary;
use convnet_core::plan::{LayerPlan, Plan, Table, build, count};
use convnet_core::summary::Summary;
use std::rc::Rc;

/// Room for the layers of a random network.
const ROOM: usize = 96;

#[test]
fn the_dry_run_and_the_plan_judge_and_print_alike() {
    let mut random = Random(5);
    let (mut sound, mut faulty, mut composed, mut with_block) = (0, 0, 0, 0);
    for _ in 0..5_000 {
        let Net { input, tree, listing, block } = random.net();
        if count(tree) > ROOM {
            continue;
        }
        let table: Table<ROOM> = build(input, tree);
        let mut networks = KnownNetworks::new();
        let mut complaints = 0;
        if let Some(block) = &block {
            let (checked, count) = dry_run(block, &networks);
            complaints += count;
            networks.insert("Block".to_string(), checked.known.filter(|_| count == 0).map(Rc::new));
        }
        let (checked, count) = dry_run(&listing, &networks);
        complaints += count;

        assert_eq!(
            complaints > 0,
            table.fault.is_some(),
            "{listing}\n{block:?}: {:?}, {complaints} complaints",
            table.fault
        );
        if complaints > 0 {
            faulty += 1;
            continue;
        }
        let planned: Vec<_> = table.layers[..table.len]
            .iter()
            .map(|layer| {
                let (total, trainable) = (layer.params() as u128, layer.trainable_params() as u128);
                (layer.name.to_string(), layer.op.kind(), layer.output.to_string(), Some((total, trainable)))
            })
            .collect();
        let seen: Vec<_> = checked
            .rows
            .iter()
            .map(|row| {
                let params = row.params.map(|params| (params.total(), params.trainable));
                (row.name.clone(), row.kind, row.shape.to_string(), params)
            })
            .collect();
        assert_eq!(seen, planned, "{listing}");
        let layers: &'static [LayerPlan] = table.layers[..table.len].to_vec().leak();
        let Table { output, params, trainable_params, .. } = table;
        let plan = Plan { network: "Net", input, output, layers, params, trainable_params };
        assert_eq!(summary::table(&checked), Summary::of(plan).to_string(), "{listing}");
        sound += 1;
        composed += usize::from(listing.contains('['));
        with_block += usize::from(block.is_some());
    }
    let counts = [sound, faulty, composed, with_block];
    assert!(counts.iter().all(|count| *count > 300), "{counts:?} networks are too few of one kind");
}

#[test]
fn more_than_1024_layers_are_too_many() {
    let listing = |layers: usize| format!("Input(4), {}", "Dense(4), ".repeat(layers));
    assert_eq!(dry_run(&listing(1024), &KnownNetworks::new()).1, 0);
    assert_eq!(dry_run(&listing(1025), &KnownNetworks::new()).1, 1);
}

#[test]
fn repetitions_that_go_too_far_are_counted_and_not_walked() {
    let listing = "Input(4), Repeat(1000000, [Repeat(1000000, [Dense(4)])]), Dense(1)";
    assert_eq!(dry_run(listing, &KnownNetworks::new()).1, 1);
}
