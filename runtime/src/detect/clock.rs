//! The time of day, where there is one: else none passes.

#[cfg(feature = "std")]
pub use std::time::Instant;

#[cfg(not(feature = "std"))]
pub use none::Instant;

#[cfg(not(feature = "std"))]
mod none {
    use core::ops::Sub;
    use core::time::Duration;

    /// A moment like every other.
    #[derive(Clone, Copy, Debug)]
    pub struct Instant(());

    impl Instant {
        /// This moment.
        pub fn now() -> Instant {
            Instant(())
        }

        /// Time since then.
        pub fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, _: Instant) -> Duration {
            Duration::ZERO
        }
    }
}
