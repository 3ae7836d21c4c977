//! What a client has not been given yet.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use xenstore_proto::{Kind, append_message};

/// Bytes on their way to a client, and where the answers among them end.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    start: usize,
    /// Bytes of the stream that were sent so far.
    sent: u64,
    /// Ends of answers in the stream; empty for clients whose answers are not counted.
    answers: VecDeque<u64>,
    counts_answers: bool,
}

impl Output {
    /// For a client whose unread answers are counted.
    pub fn counting() -> Output {
        Output {
            counts_answers: true,
            ..Output::default()
        }
    }

    /// What is to be sent.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Bytes to be sent.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The end of the stream, counted from its beginning.
    pub fn end(&self) -> u64 {
        self.sent + self.len() as u64
    }

    /// Answers that are not sent wholly.
    pub fn unread_answers(&self) -> usize {
        self.answers.len()
    }

    /// The first `count` bytes were sent.
    pub fn advance(&mut self, count: usize) {
        self.start += count;
        self.sent += count as u64;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start >= 1 << 16 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        while self.answers.front().is_some_and(|&end| end <= self.sent) {
            self.answers.pop_front();
        }
        if self.bytes.is_empty() && self.bytes.capacity() > 1 << 18 {
            self.bytes = Vec::new();
        }
    }

    /// Adds an answer.
    pub fn answer(&mut self, kind: Kind, request: u32, transaction: u32, payload: &[u8]) {
        append_message(&mut self.bytes, kind, request, transaction, payload);
        self.note_answer();
    }

    /// Adds an answer whose payload `fill` appends.
    pub fn answer_with(&mut self, kind: Kind, request: u32, transaction: u32, fill: impl FnOnce(&mut Vec<u8>)) {
        let head = self.bytes.len();
        append_message(&mut self.bytes, kind, request, transaction, &[]);
        let body = self.bytes.len();
        fill(&mut self.bytes);
        let length = (self.bytes.len() - body) as u32;
        self.bytes[head + 12..head + 16].copy_from_slice(&length.to_le_bytes());
        self.note_answer();
    }

    fn note_answer(&mut self) {
        if self.counts_answers {
            self.answers.push_back(self.sent + self.len() as u64);
        }
    }

    /// Adds a watch event.
    pub fn event(&mut self, path: &[u8], token: &[u8]) {
        let length = path.len() + token.len() + 2;
        if length > xenstore_proto::PAYLOAD_MAX {
            return;
        }
        append_message(&mut self.bytes, Kind::WATCH_EVENT, 0, 0, &[]);
        let at = self.bytes.len();
        self.bytes[at - 4..].copy_from_slice(&(length as u32).to_le_bytes());
        for part in [path, token] {
            self.bytes.extend_from_slice(part);
            self.bytes.push(0);
        }
    }

    /// Puts back what an earlier program had not sent.
    pub fn restore(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Output {
            counts_answers: self.counts_answers,
            ..Output::default()
        };
    }
}
