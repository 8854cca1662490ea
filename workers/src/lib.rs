//! The worker fleet: step executors, snapshot and comparison.
//!
//! It knows neither the deal types nor their figures: those come in through the ports
//! [`calculators`] and [`audit`]. `compare::rules` is pure.

pub mod audit;
pub mod calculators;
pub mod child;
pub mod compare;
pub mod executor;
pub mod fleet;
pub mod snapshot;
