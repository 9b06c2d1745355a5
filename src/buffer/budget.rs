//! What rows and finished objects may hold of memory, over the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the bytes of rows and of objects against one limit. Shared; touched once a segment, not once a row.
///
/// It counts and tells, and refuses nothing: who fills buffers waits for [`Budget::wait_for_room`] first, and so goes
/// past the limit by one decoded batch at most.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    rows: AtomicUsize,
    packed: AtomicUsize,
    freed: Notify,
}

/// What the bytes of a [`Lease`] hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Rows in buffers, or taken from them and not encoded yet.
    Rows,
    /// Encoded objects that are not published yet.
    Packed,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, rows: AtomicUsize::new(0), packed: AtomicUsize::new(0), freed: Notify::new() })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of rows in buffers, and of rows that were taken from them and are not encoded yet.
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of encoded objects whose lease is still held.
    pub fn packed(&self) -> usize {
        self.packed.load(Ordering::Relaxed)
    }

    /// Bytes that are left; 0 when the limit is reached or passed.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.rows()).saturating_sub(self.packed())
    }

    /// Waits until there is any room. Cancel-safe.
    pub async fn wait_for_room(&self) {
        loop {
            // Made before the look, so that what is given back in between is not missed.
            let freed = self.freed.notified();
            if self.room() > 0 {
                return;
            }
            freed.await;
        }
    }

    /// Takes bytes, whether there is room or not.
    pub fn hold(self: &Arc<Self>, held: Held, bytes: usize) -> Lease {
        let mut lease = Lease { budget: Arc::clone(self), held, bytes: 0 };
        lease.grow(bytes);
        lease
    }

    fn count(&self, held: Held) -> &AtomicUsize {
        match held {
            Held::Rows => &self.rows,
            Held::Packed => &self.packed,
        }
    }
}

/// Bytes of a [`Budget`]; given back when dropped. Keep it with what it stands for.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    held: Held,
    bytes: usize,
}

impl Lease {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn grow(&mut self, bytes: usize) {
        self.budget.count(self.held).fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.count(self.held).fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leases_count_until_they_are_dropped() {
        let budget = Budget::new(100);
        let mut rows = budget.hold(Held::Rows, 30);
        let packed = budget.hold(Held::Packed, 20);
        rows.grow(40);
        assert_eq!((budget.rows(), budget.packed(), budget.room()), (70, 20, 10));
        rows.grow(40);
        assert_eq!(budget.room(), 0);
        drop(rows);
        assert_eq!((budget.rows(), budget.packed(), budget.room()), (0, 20, 80));
        drop(packed);
        assert_eq!(budget.room(), 100);
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken() {
        let budget = Budget::new(100);
        let lease = budget.hold(Held::Packed, 100);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let budget = Arc::clone(&budget);
                tokio::spawn(async move { budget.wait_for_room().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        drop(lease);
        for waiter in waiters {
            tokio::time::timeout(Duration::from_secs(5), waiter).await.expect("woken").unwrap();
        }
    }
}
