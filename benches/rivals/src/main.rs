//! The publishers and subscribers that fedmsg's are measured beside, as processes of the harness
//! (`fedmsg-benches`, binary `bus`).

mod libzmq;
mod omq;
mod zmqrs;

use fedmsg_bench_worker::{Job, Role};

fn main() {
    let job = Job::mine();
    match (job.contender.as_str(), job.role) {
        ("libzmq", Role::Publish) => libzmq::publish(&job),
        ("libzmq", Role::Subscribe) => libzmq::subscribe(&job),
        ("omq", Role::Publish) => omq::publish(&job),
        ("omq", Role::Subscribe) => omq::subscribe(&job),
        ("omq 2", Role::Publish) => omq::publish_async(&job),
        ("omq 2", Role::Subscribe) => omq::subscribe_async(&job),
        ("zmq.rs", Role::Publish) => zmqrs::publish(&job),
        ("zmq.rs", Role::Subscribe) => zmqrs::subscribe(&job),
        _ => panic!("nothing to do for {job:?}"),
    }
}
