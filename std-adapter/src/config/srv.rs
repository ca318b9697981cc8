//! Endpoints from the name service: SRV records (RFC 2782).

use std::{net::SocketAddr, thread, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};
use tokio::task::JoinSet;

/// The endpoints of each domain, the most wanted first; or why there are none.
type Found = Vec<(String, Result<Vec<String>, String>)>;

/// Asks for the records of every domain at once, and waits for `limit` at most.
pub(super) fn resolve(
    domains: Vec<String>,
    name_server: Option<SocketAddr>,
    limit: Duration,
) -> Found {
    // On a thread of its own: the caller may be in a runtime, which must not block.
    let asked = thread::scope(|scope| {
        let domains = domains.clone();
        let asked = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(ask(domains, name_server, limit)),
                Err(error) => none(domains, &error.to_string()),
            }
        });
        asked.join()
    });
    asked.unwrap_or_else(|_| none(domains, "the resolver failed"))
}

async fn ask(domains: Vec<String>, name_server: Option<SocketAddr>, limit: Duration) -> Found {
    let resolver = match resolver(name_server) {
        Ok(resolver) => resolver,
        Err(error) => return none(domains, &error.to_string()),
    };
    let mut questions = JoinSet::new();
    for (number, domain) in domains.into_iter().enumerate() {
        let resolver = resolver.clone();
        questions.spawn(async move {
            let answer = tokio::time::timeout(limit, endpoints(&resolver, &domain)).await;
            let answer = answer
                .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs_f64())));
            (number, domain, answer)
        });
    }
    let mut answers = questions.join_all().await;
    answers.sort_by_key(|(number, ..)| *number);
    answers
        .into_iter()
        .map(|(_, domain, answer)| (domain, answer))
        .collect()
}

async fn endpoints(resolver: &TokioResolver, domain: &str) -> Result<Vec<String>, String> {
    let service = format!("_fedmsg._tcp.{domain}");
    let answer = resolver.srv_lookup(service.as_str()).await;
    let answer = answer.map_err(|error| match error {
        error if error.is_no_records_found() => format!("there is no SRV record {service}"),
        error => error.to_string(),
    })?;
    let records = answer.answers().iter();
    let mut records: Vec<_> = records
        .filter_map(|record| match &record.data {
            // A target that is the root says that there is no such service.
            RData::SRV(srv) if !srv.target.is_root() => Some(srv),
            _ => None,
        })
        .collect();
    if records.is_empty() {
        return Err(format!("{service} says that there is no such service"));
    }
    // The order of equal ones is not the name server's whim.
    records.sort_by_cached_key(|srv| (srv.priority, srv.target.to_ascii(), srv.port));
    // With the dot at the end of a whole name, as the peer has it.
    Ok(records
        .iter()
        .map(|srv| format!("tcp://{}:{}", srv.target.to_ascii(), srv.port))
        .collect())
}

fn resolver(name_server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let builder = match name_server {
        None => TokioResolver::builder_tokio()?,
        Some(address) => {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            TokioResolver::builder_with_config(
                ResolverConfig::from_name_servers(vec![server]),
                TokioRuntimeProvider::default(),
            )
        }
    };
    builder.build()
}

fn none(domains: Vec<String>, reason: &str) -> Found {
    let all = domains.into_iter();
    all.map(|domain| (domain, Err(reason.to_owned()))).collect()
}
