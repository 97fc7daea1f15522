//! What is answered to a request.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::page::PAGE;
use super::{ServerOptions, host, page};
use crate::metrics::snapshot::Snapshot;
use crate::metrics::text;
use crate::metrics::warning::Watch;

/// Snapshots are not taken more often than that.
const LEAST_REFRESH: Duration = Duration::from_millis(250);
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers, made of the latest snapshot.
pub(super) struct Answers {
    hosts: Vec<String>,
    refresh: Duration,
    policy: HeaderValue,
    latest: RefCell<Latest>,
}

struct Latest {
    source: Box<dyn FnMut() -> Snapshot>,
    watch: Watch,
    taken: Option<Taken>,
}

/// A snapshot, and what was made of it.
struct Taken {
    at: Instant,
    snapshot: Snapshot,
    json: Option<Bytes>,
    metrics: Option<Bytes>,
}

impl Latest {
    /// The latest snapshot, or a new one if it is too old.
    fn get(&mut self, refresh: Duration) -> &mut Taken {
        let Self { source, watch, taken } = self;
        if taken.as_ref().is_some_and(|taken| taken.at.elapsed() >= refresh) {
            *taken = None;
        }
        taken.get_or_insert_with(|| {
            let mut snapshot = source();
            watch.look(&mut snapshot);
            Taken { at: Instant::now(), snapshot, json: None, metrics: None }
        })
    }
}

impl Taken {
    fn json(&mut self) -> Bytes {
        let Self { snapshot, json, .. } = self;
        // Numbers, text and lists can always be written.
        json.get_or_insert_with(|| serde_json::to_vec(snapshot).unwrap_or_default().into()).clone()
    }

    fn metrics(&mut self) -> Bytes {
        let Self { snapshot, metrics, .. } = self;
        metrics.get_or_insert_with(|| text::prometheus(snapshot).into()).clone()
    }
}

/// A status, a content type and a body.
type Content = (StatusCode, &'static str, Bytes);

const fn plain(status: StatusCode, text: &'static str) -> Content {
    (status, PLAIN, Bytes::from_static(text.as_bytes()))
}

impl Answers {
    pub(super) fn new(source: impl FnMut() -> Snapshot + 'static, options: &ServerOptions) -> Self {
        let policy = page::policy();
        Self {
            hosts: options.hosts.clone(),
            refresh: options.refresh.max(LEAST_REFRESH),
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
            latest: RefCell::new(Latest { source: Box::new(source), watch: Watch::new(), taken: None }),
        }
    }

    /// The answer to a request, whose body nobody reads.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (status, kind, body) = self.content(request);
        let length = HeaderValue::from(body.len());
        let body = if request.method() == Method::HEAD { Bytes::new() } else { body };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let fixed = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        let headers = response.headers_mut();
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::CONTENT_LENGTH, length);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    fn content<B>(&self, request: &Request<B>) -> Content {
        if let Err(refusal) = self.check_host(request) {
            return refusal;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "Nothing can be changed here: GET and HEAD only.\n",
            );
        }
        let ok = |kind, body| (StatusCode::OK, kind, body);
        match request.uri().path() {
            "/" => ok("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes())),
            "/stats.json" => ok("application/json", self.latest.borrow_mut().get(self.refresh).json()),
            "/metrics" => ok(text::CONTENT_TYPE, self.latest.borrow_mut().get(self.refresh).metrics()),
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            _ => plain(StatusCode::NOT_FOUND, "There are /, /stats.json, /metrics and /healthz.\n"),
        }
    }

    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Content> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        if more.is_some() {
            return Err(plain(StatusCode::BAD_REQUEST, "More than one Host header.\n"));
        }
        // A request line with a whole URL names the host once more, and there is no browser that sends one here.
        let named = request.uri().authority().map(hyper::http::uri::Authority::as_str);
        let ours = |host: &str| host::is_ours(host, &self.hosts);
        match host.map(|host| host.to_str().ok()) {
            None if request.version() == Version::HTTP_10 => Ok(()),
            None => Err(plain(StatusCode::BAD_REQUEST, "A Host header is missing.\n")),
            Some(Some(host)) if ours(host) && named.is_none_or(ours) => Ok(()),
            Some(_) => Err(plain(
                StatusCode::MISDIRECTED_REQUEST,
                "This server does not go by that name. Call it by its IP address, or give it the name.\n",
            )),
        }
    }
}
