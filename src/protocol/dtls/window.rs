//! The window against replayed records (RFC 6347 section 4.1.2.6).

/// Sequence numbers that were seen: the newest, and which of the 64 up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    newest: u64,
    /// Bit n: `newest - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    /// After a record with this sequence number; the records before it may still come.
    #[must_use]
    pub const fn after(newest: u64) -> Self {
        Self { newest, seen: 1 }
    }

    /// Nothing up to this sequence number is taken any more: what of it was seen is not known.
    #[must_use]
    pub const fn closed_up_to(newest: u64) -> Self {
        Self { newest, seen: u64::MAX }
    }

    /// The highest sequence number seen.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether a record with this number may be new. Asked before it is opened.
    #[must_use]
    pub const fn may_be_new(&self, sequence: u64) -> bool {
        if sequence > self.newest {
            return true;
        }
        let back = self.newest - sequence;
        back < 64 && self.seen & (1 << back) == 0
    }

    /// Notes a record that authenticated; whether it is the newest so far.
    pub const fn note(&mut self, sequence: u64) -> bool {
        if sequence > self.newest {
            let forward = sequence - self.newest;
            self.seen = if forward < 64 { self.seen << forward | 1 } else { 1 };
            self.newest = sequence;
            return true;
        }
        let back = self.newest - sequence;
        if back < 64 {
            self.seen |= 1 << back;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_once_in_any_order_within_the_window() {
        let mut window = ReplayWindow::after(100);
        assert!(!window.may_be_new(100));
        assert!(window.may_be_new(99) && window.may_be_new(37) && !window.may_be_new(36));
        assert!(!window.note(99));
        assert!(!window.may_be_new(99));
        assert!(window.note(103));
        assert!(window.may_be_new(101) && !window.may_be_new(100) && !window.may_be_new(99));
        assert!(window.note(1_000));
        assert!(window.may_be_new(999) && !window.may_be_new(103));
    }

    #[test]
    fn a_closed_window_takes_newer_records_only() {
        let mut window = ReplayWindow::closed_up_to(5);
        assert!((0..=5).all(|sequence| !window.may_be_new(sequence)));
        assert!(window.note(70));
        assert!(window.may_be_new(69) && !window.may_be_new(5));
    }
}
