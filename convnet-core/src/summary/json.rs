//! A plan as JSON.

use super::settings::settings;
use super::{INPUT, connections};
use crate::plan::{Distribution, Initializer, LayerPlan, Plan, Weight};
use crate::shape::Shape;
use serde_json::{Value, json};

/// The indented text.
pub(super) fn text(plan: &Plan) -> String {
    let layers: Vec<Value> = plan.layers.iter().map(|layer| layer_value(plan, layer)).collect();
    let value = json!({
        "name": plan.network,
        INPUT: sizes(&plan.input),
        "output": sizes(&plan.output),
        "layers": layers,
        "params": plan.params,
        "trainable_params": plan.trainable_params,
        "non_trainable_params": plan.params - plan.trainable_params,
    });
    format!("{value:#}")
}

fn layer_value(plan: &Plan, layer: &LayerPlan) -> Value {
    let input_shapes: Vec<Value> = layer.inputs().iter().map(|&tensor| sizes(&plan.tensor(tensor))).collect();
    let weights: Vec<Value> = layer.weights().iter().map(weight_value).collect();
    json!({
        "name": layer.name.to_string(),
        "kind": layer.op.kind(),
        "settings": settings(&layer.op),
        "inputs": connections(plan, layer),
        "input_shapes": input_shapes,
        "output_shape": sizes(&layer.output),
        "params": layer.params(),
        "trainable": layer.trainable,
        "trainable_params": layer.trainable_params(),
        "weights": weights,
    })
}

fn weight_value(weight: &Weight) -> Value {
    let initializer = match weight.initializer {
        Initializer::Zeros => json!("zeros"),
        Initializer::Ones => json!("ones"),
        Initializer::VarianceScaling { scale, fan, distribution } => {
            let distribution = match distribution {
                Distribution::Uniform => "uniform",
                Distribution::TruncatedNormal => "truncated_normal",
            };
            json!({ "variance": scale / fan, "distribution": distribution })
        }
    };
    json!({
        "name": weight.name,
        "shape": weight.sizes(),
        "initializer": initializer,
        "trainable": weight.trainable,
        "l2": weight.l2,
    })
}

fn sizes(shape: &Shape) -> Value {
    json!(shape.sizes())
}
