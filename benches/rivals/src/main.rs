//! The publishers and subscribers that fedmsg's are measured beside, as processes of the harness
//! (`fedmsg-benches`, binary `bus`).

mod libzmq;

use fedmsg_bench_worker::{Job, Role};

fn main() {
    let job = Job::mine();
    match (job.contender.as_str(), job.role) {
        ("libzmq", Role::Publish) => libzmq::publish(&job),
        ("libzmq", Role::Subscribe) => libzmq::subscribe(&job),
        _ => panic!("nothing to do for {job:?}"),
    }
}
