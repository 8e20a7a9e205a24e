//! `lambda`: the service as a function of AWS Lambda.

use std::env;

use clap::Args;

use super::Context;
use super::serve::{self, ServeArgs};
use crate::app::failure::Failure;
use crate::app::serve::lambda::{self, INTERFACE};

/// Answer events as a function of AWS Lambda
///
/// The program asks Lambda for events itself, so that it is a container function or a `bootstrap` without anything else.
/// Events of function URLs, HTTP and REST APIs and load balancers reach every path of `serve`, the web page included;
/// any other event is the JSON of POST /predict. Options are those of `serve`; those about connections change nothing.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR lambda                                      in a container function: CMD [\"lambda\"]
  DETECTOR lambda --num-cores 2 --conf-thres 0.4
  aws lambda invoke --function-name detector --payload '{\"images\": [\"<base64>\"]}' answer.json

Exit codes: 1 an error, 2 wrong use. Lambda ends the program otherwise.")]
pub(super) struct LambdaArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: &LambdaArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if env::var_os(INTERFACE).is_none() {
        let message = "is not set, so this is not AWS Lambda; anywhere else the service is";
        return Err(Failure::new(format_args!("{INTERFACE} {message} `{} serve`", context.program)));
    }
    serve::start(&args.serve, context, lambda::run)
}
