//! Which requests are answered, in which versions, and by which handler.
//!
//! The table [`SUPPORTED`] is what ApiVersions advertises; its reasons are in the crate's documentation.

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::broker::Core;
use crate::frame::{Frame, FrameBuilder};
use crate::handlers::{cluster, configs, fetch, groups, metadata, offsets, produce, topics, transactions};

/// API key, oldest version, newest version.
pub(crate) const SUPPORTED: [(ApiKey, i16, i16); 20] = [
    (ApiKey::Produce, 3, 11),
    (ApiKey::Fetch, 4, 17),
    (ApiKey::ListOffsets, 1, 9),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 5),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 4),
    (ApiKey::EndTxn, 0, 4),
    (ApiKey::TxnOffsetCommit, 0, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 1),
];

/// A request that the broker cannot answer at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("a request of {bytes} bytes is too short for a header")]
    TooShort { bytes: usize },
    #[error("request key {api_key} version {version} was not advertised")]
    NotAdvertised { api_key: i16, version: i16 },
    #[error("request key {api_key} version {version} does not parse: {source}")]
    Malformed {
        api_key: i16,
        version: i16,
        source: anyhow::Error,
    },
    #[error("the answer to request key {api_key} version {version} cannot be encoded: {source}")]
    Unanswerable {
        api_key: i16,
        version: i16,
        source: anyhow::Error,
    },
}

/// What becomes of a request.
pub(crate) enum Outcome {
    Answer(Frame),
    /// The client wants no answer.
    Nothing,
    /// Close the connection without an answer.
    Close,
}

/// A request being handled.
pub(crate) struct Context<'a> {
    pub core: &'a Core,
    pub version: i16,
    /// An error to answer with instead of executing (a fault of a test).
    pub injected: Option<ResponseError>,
}

impl Context<'_> {
    /// The injected error, if there is one.
    pub fn fault(&self) -> Result<(), ResponseError> {
        self.injected.map_or(Ok(()), Err)
    }
}

/// Answers one request.
pub(crate) async fn answer(core: &Core, mut request: Bytes) -> Result<Outcome, RequestError> {
    if request.len() < 8 {
        return Err(RequestError::TooShort { bytes: request.len() });
    }
    let mut peek = &request[..8];
    let (number, version, correlation_id) = (peek.get_i16(), peek.get_i16(), peek.get_i32());
    let not_advertised = RequestError::NotAdvertised {
        api_key: number,
        version,
    };
    let Ok(api_key) = ApiKey::try_from(number) else {
        return Err(not_advertised);
    };
    let Some(&(_, oldest, newest)) = SUPPORTED.iter().find(|(known, ..)| *known == api_key) else {
        return Err(not_advertised);
    };
    if !(oldest..=newest).contains(&version) {
        if api_key != ApiKey::ApiVersions {
            return Err(not_advertised);
        }
        // Clients try their newest version first and fall back to what this answer of version 0 offers.
        let reply = Reply {
            api_key,
            version: 0,
            correlation_id,
        };
        let frame = reply.encode(&cluster::api_versions(Some(ResponseError::UnsupportedVersion)))?;
        return Ok(Outcome::Answer(frame));
    }
    let malformed = |source| RequestError::Malformed {
        api_key: number,
        version,
        source,
    };
    RequestHeader::decode(&mut request, api_key.request_header_version(version)).map_err(malformed)?;

    let planned = core.faults.take(api_key);
    if planned.drop_request {
        return Ok(Outcome::Close);
    }
    let context = Context {
        core,
        version,
        injected: planned.error,
    };
    let reply = Reply {
        api_key,
        version,
        correlation_id,
    };
    let outcome = dispatch(&context, &reply, &mut request).await?;
    Ok(if planned.drop_answer { Outcome::Close } else { outcome })
}

async fn dispatch(context: &Context<'_>, reply: &Reply, body: &mut Bytes) -> Result<Outcome, RequestError> {
    let frame = match reply.api_key {
        ApiKey::Produce => return produce::produce(context, reply, reply.decode(body)?),
        ApiKey::Fetch => return fetch::fetch(context, reply, reply.decode(body)?).await,
        ApiKey::ListOffsets => reply.encode(&offsets::list_offsets(context, reply.decode(body)?))?,
        ApiKey::OffsetForLeaderEpoch => {
            reply.encode(&offsets::offset_for_leader_epoch(context, reply.decode(body)?))?
        }
        ApiKey::Metadata => reply.encode(&metadata::metadata(context, reply.decode(body)?))?,
        ApiKey::OffsetCommit => reply.encode(&groups::offset_commit(context, reply.decode(body)?))?,
        ApiKey::OffsetFetch => reply.encode(&groups::offset_fetch(context, reply.decode(body)?))?,
        ApiKey::FindCoordinator => reply.encode(&cluster::find_coordinator(context, reply.decode(body)?))?,
        ApiKey::ApiVersions => reply.encode(&cluster::api_versions(context.injected))?,
        ApiKey::CreateTopics => reply.encode(&topics::create_topics(context, reply.decode(body)?))?,
        ApiKey::DeleteTopics => reply.encode(&topics::delete_topics(context, reply.decode(body)?))?,
        ApiKey::InitProducerId => reply.encode(&transactions::init_producer_id(context, reply.decode(body)?))?,
        ApiKey::AddPartitionsToTxn => {
            reply.encode(&transactions::add_partitions_to_txn(context, reply.decode(body)?))?
        }
        ApiKey::AddOffsetsToTxn => reply.encode(&transactions::add_offsets_to_txn(context, reply.decode(body)?))?,
        ApiKey::TxnOffsetCommit => reply.encode(&groups::txn_offset_commit(context, reply.decode(body)?))?,
        ApiKey::EndTxn => reply.encode(&transactions::end_txn(context, reply.decode(body)?))?,
        ApiKey::ListTransactions => reply.encode(&transactions::list_transactions(context, reply.decode(body)?))?,
        ApiKey::DescribeTransactions => {
            reply.encode(&transactions::describe_transactions(context, reply.decode(body)?))?
        }
        ApiKey::DescribeConfigs => reply.encode(&configs::describe_configs(context, reply.decode(body)?))?,
        ApiKey::DescribeCluster => reply.encode(&cluster::describe_cluster(context, reply.decode(body)?))?,
        _ => {
            return Err(RequestError::NotAdvertised {
                api_key: reply.api_key as i16,
                version: reply.version,
            });
        }
    };
    Ok(Outcome::Answer(frame))
}

/// Where an answer goes: the key and version that fix its form, and the request it belongs to.
pub(crate) struct Reply {
    pub api_key: ApiKey,
    pub version: i16,
    correlation_id: i32,
}

impl Reply {
    /// Encodes an answer with its header.
    pub fn encode(&self, response: &impl Encodable) -> Result<Frame, RequestError> {
        let mut builder = self.begin();
        response
            .encode(&mut builder.tail, self.version)
            .map_err(|source| RequestError::Unanswerable {
                api_key: self.api_key as i16,
                version: self.version,
                source,
            })?;
        Ok(builder.finish())
    }

    /// A frame that holds the header only.
    pub fn begin(&self) -> FrameBuilder {
        let mut builder = FrameBuilder::default();
        builder.tail.put_i32(self.correlation_id);
        if self.api_key.response_header_version(self.version) >= 1 {
            // No tagged fields.
            builder.tail.put_u8(0);
        }
        builder
    }

    fn decode<T: Decodable>(&self, body: &mut Bytes) -> Result<T, RequestError> {
        T::decode(body, self.version).map_err(|source| RequestError::Malformed {
            api_key: self.api_key as i16,
            version: self.version,
            source,
        })
    }
}
