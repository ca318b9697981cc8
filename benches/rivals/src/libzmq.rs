//! libzmq 4.3.5 through its C API, which `build.rs` built. The calls are those that a C program
//! makes; `unsafe` is what calling C takes.

use fedmsg_bench_worker::{Job, Sinks, Source, wait_for_end};
use std::{
    ffi::{CStr, CString, c_int, c_short, c_void},
    sync::Arc,
    thread,
};

#[repr(C, align(8))]
struct Msg([u8; 64]);

#[repr(C)]
struct PollItem {
    socket: *mut c_void,
    fd: c_int,
    events: c_short,
    revents: c_short,
}

unsafe extern "C" {
    fn zmq_ctx_new() -> *mut c_void;
    fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    fn zmq_setsockopt(s: *mut c_void, option: c_int, value: *const c_void, len: usize) -> c_int;
    fn zmq_getsockopt(s: *mut c_void, option: c_int, value: *mut c_void, len: *mut usize) -> c_int;
    fn zmq_bind(socket: *mut c_void, endpoint: *const i8) -> c_int;
    fn zmq_connect(socket: *mut c_void, endpoint: *const i8) -> c_int;
    fn zmq_send(socket: *mut c_void, bytes: *const c_void, len: usize, flags: c_int) -> c_int;
    fn zmq_msg_init(msg: *mut Msg) -> c_int;
    fn zmq_msg_recv(msg: *mut Msg, socket: *mut c_void, flags: c_int) -> c_int;
    fn zmq_msg_data(msg: *mut Msg) -> *mut c_void;
    fn zmq_msg_size(msg: *const Msg) -> usize;
    fn zmq_poll(items: *mut PollItem, count: c_int, timeout: isize) -> c_int;
    fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
}

const XPUB: c_int = 9;
const SUB: c_int = 2;
const SUBSCRIBE: c_int = 6;
const SNDHWM: c_int = 23;
const RCVHWM: c_int = 24;
const XPUB_NODROP: c_int = 69;
const LAST_ENDPOINT: c_int = 32;
const IO_THREADS: c_int = 1;
const MAX_SOCKETS: c_int = 2;
const SNDMORE: c_int = 2;
const DONTWAIT: c_int = 1;
const POLLIN: c_short = 1;

/// Best for throughput: larger ones cost memory and gain nothing.
const HIGH_WATER_MARK: c_int = 1000;

/// A socket, used by one thread at a time.
struct Socket(*mut c_void);

// SAFETY: a libzmq socket may be handed to another thread with a full fence, which spawning is.
unsafe impl Send for Socket {}

fn context(io_threads: c_int) -> *mut c_void {
    // SAFETY: plain C calls, as documented in zmq_ctx_new(3).
    unsafe {
        let (mut major, mut minor, mut patch) = (0, 0, 0);
        zmq_version(&mut major, &mut minor, &mut patch);
        assert_eq!((major, minor, patch), (4, 3, 5));
        let context = zmq_ctx_new();
        assert_eq!(zmq_ctx_set(context, IO_THREADS, io_threads), 0);
        assert_eq!(zmq_ctx_set(context, MAX_SOCKETS, 4096), 0);
        context
    }
}

impl Socket {
    fn new(context: *mut c_void, kind: c_int) -> Self {
        // SAFETY: `context` lives as long as the process.
        let socket = unsafe { zmq_socket(context, kind) };
        assert!(!socket.is_null());
        Self(socket)
    }

    fn set(&self, option: c_int, value: &[u8]) {
        // SAFETY: the bytes are read before the call returns.
        let done = unsafe { zmq_setsockopt(self.0, option, value.as_ptr().cast(), value.len()) };
        assert_eq!(done, 0);
    }

    fn send(&self, bytes: &[u8], flags: c_int) {
        // SAFETY: the bytes are copied before the call returns.
        let sent = unsafe { zmq_send(self.0, bytes.as_ptr().cast(), bytes.len(), flags) };
        assert_eq!(usize::try_from(sent), Ok(bytes.len()));
    }

    /// Receives one frame; what it was before is released.
    fn recv<'m>(&self, msg: &'m mut Msg, flags: c_int) -> Option<&'m [u8]> {
        // SAFETY: `msg` was initialised; its data lives until the next call with it.
        unsafe {
            if zmq_msg_recv(msg, self.0, flags) < 0 {
                return None;
            }
            let (data, size) = (zmq_msg_data(msg), zmq_msg_size(msg));
            Some(std::slice::from_raw_parts(data.cast(), size))
        }
    }
}

fn message() -> Msg {
    let mut msg = Msg([0; 64]);
    // SAFETY: it has the size and alignment of zmq_msg_t.
    unsafe { zmq_msg_init(&mut msg) };
    msg
}

pub fn publish(job: &Job) {
    let socket = Socket::new(context(1), XPUB);
    let mark = match job.high_water_mark {
        0 => HIGH_WATER_MARK,
        n => n.try_into().expect("a mark that fits"),
    };
    socket.set(SNDHWM, &mark.to_ne_bytes());
    socket.set(XPUB_NODROP, &c_int::from(job.lossless).to_ne_bytes());
    let mut endpoint = [0_u8; 256];
    let mut len = endpoint.len();
    // SAFETY: the buffer has the length given.
    unsafe {
        assert_eq!(zmq_bind(socket.0, c"tcp://127.0.0.1:*".as_ptr()), 0);
        let got = zmq_getsockopt(
            socket.0,
            LAST_ENDPOINT,
            endpoint.as_mut_ptr().cast(),
            &mut len,
        );
        assert_eq!(got, 0);
    }
    let endpoint = CStr::from_bytes_until_nul(&endpoint).expect("text");
    let mut source = Source::new(job, endpoint.to_str().expect("text"), Arc::default());
    let mut subscription = message();
    let mut probing = true;
    while let Some((topic, body)) = source.next() {
        // Subscriptions are taken while probing, as an XPUB has to.
        probing &= source_is_probe(body);
        while probing && socket.recv(&mut subscription, DONTWAIT).is_some() {}
        socket.send(topic, SNDMORE);
        socket.send(body, 0);
    }
    source.wait_for_end();
}

fn source_is_probe(body: &[u8]) -> bool {
    body.starts_with(&[0xff; 8])
}

pub fn subscribe(job: &Job) {
    let (sinks, each) = Sinks::new(job);
    let context = context(1);
    let endpoint = CString::new(job.endpoint.as_str()).expect("text");
    let sockets = Vec::from_iter(each.into_iter().map(|sink| {
        let socket = Socket::new(context, SUB);
        socket.set(RCVHWM, &HIGH_WATER_MARK.to_ne_bytes());
        socket.set(SUBSCRIBE, b"");
        // SAFETY: a C string.
        assert_eq!(unsafe { zmq_connect(socket.0, endpoint.as_ptr()) }, 0);
        (socket, sink)
    }));
    thread::spawn(move || read(sockets));
    sinks.watch();
}

fn read(mut sockets: Vec<(Socket, fedmsg_bench_worker::Sink)>) {
    let (mut topic, mut body) = (message(), message());
    if let [(socket, sink)] = sockets.as_mut_slice() {
        loop {
            let topic = socket.recv(&mut topic, 0).expect("a topic");
            let body = socket.recv(&mut body, 0).expect("a body");
            if !sink.take(topic, body) {
                wait_for_end();
            }
        }
    }
    let mut items = Vec::from_iter(sockets.iter().map(|(socket, _)| PollItem {
        socket: socket.0,
        fd: 0,
        events: POLLIN,
        revents: 0,
    }));
    loop {
        let count = c_int::try_from(items.len()).expect("few");
        // SAFETY: as many items as said, of sockets that live.
        unsafe { zmq_poll(items.as_mut_ptr(), count, -1) };
        for (item, (socket, sink)) in items.iter().zip(&mut sockets) {
            if item.revents & POLLIN == 0 {
                continue;
            }
            // As many as are there, up to a turn's share.
            for _ in 0..1000 {
                let Some(topic) = socket.recv(&mut topic, DONTWAIT) else {
                    break;
                };
                let body = socket.recv(&mut body, 0).expect("a body");
                sink.take(topic, body);
            }
        }
    }
}
