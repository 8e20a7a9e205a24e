//! Whether the models compute what they should, before the first answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::state::{App, Facts};
use super::worker::Networks;
use crate::detect::Pipeline;
use crate::engine::Infer;
use crate::engine::golden::{Golden, check};

/// Makes every model on all cores, compares its layers with the golden values that it carries, and tells the service.
pub fn prove(app: &App, networks: &Networks) {
    let cores = app.settings.scheduling.cores;
    for (index, model) in app.models.iter().enumerate() {
        let proved = catch_unwind(AssertUnwindSafe(|| {
            let mut engine = (model.new)(cores).map_err(|error| format!("cannot start {cores} threads: {error}"))?;
            let facts = Facts::of(&mut *engine);
            app.metrics.model(model.spec, facts.isa);
            let _ = app.facts[index].set(facts);
            if app.settings.selftest {
                compare(&mut *engine)?;
            }
            Pipeline::builder_boxed(engine).build().map_err(|error| error.to_string())
        }));
        match proved.unwrap_or_else(|_| Err("the self test panicked".into())) {
            Ok(pipeline) => networks.put(index, cores, pipeline),
            Err(why) => {
                let why = format!("{}: {why}", model.spec.source);
                tracing::error!("{why}; the service answers no requests");
                return app.health.fail(why);
            }
        }
    }
    app.health.prove();
    tracing::info!(selftest = app.settings.selftest, "ready");
}

/// A model without golden values passes.
fn compare(model: &mut dyn Infer) -> Result<(), String> {
    let Some(engine) = model.engine() else { return Ok(()) };
    let program = engine.program();
    let golden = Golden::decode(program.golden).filter(|golden| golden.len() == program.layers.len());
    let Some(golden) = golden else { return Ok(()) };
    let verdict = check(engine, &golden).map_err(|error| error.to_string())?;
    match verdict.first_difference {
        Some(layer) => {
            let name = &program.layers[layer].name;
            Err(format!("the self test failed: layer `{name}` computes something else on this machine"))
        }
        None if !verdict.threads_agree => {
            Err("the self test failed: all threads together give other outputs than one".into())
        }
        None => Ok(()),
    }
}
