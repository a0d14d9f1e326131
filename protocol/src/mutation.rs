//! The shape of deliberate faults, one definition for the cores that have some.

/// Declares the deliberate faults of a core: `Mutation`, which names them, and `Mutations`, which
/// says whether one of them is switched on.
///
/// The feature `mutants` is that of the crate in which this stands: without it `Mutations` is empty
/// and every question to it is answered with no, by the compiler.
#[macro_export]
macro_rules! mutations {
    ($($(#[$about:meta])* $fault:ident,)+) => {
        /// One deliberate fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $($(#[$about])* $fault,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Mutation] = &[$(Mutation::$fault,)+];
        }

        /// The fault that is switched on, if there is one.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Mutations {
            #[cfg(feature = "mutants")]
            only: Option<Mutation>,
        }

        impl Mutations {
            /// None, as ever outside of the simulation.
            pub const NONE: Mutations = Mutations {
                #[cfg(feature = "mutants")]
                only: None,
            };

            /// Exactly this one.
            #[cfg(feature = "mutants")]
            #[must_use]
            pub const fn only(fault: Mutation) -> Mutations {
                Mutations { only: Some(fault) }
            }

            /// Which one is switched on.
            #[cfg(feature = "mutants")]
            #[must_use]
            pub const fn which(self) -> Option<Mutation> {
                self.only
            }

            /// Whether this one is switched on.
            #[cfg(feature = "mutants")]
            pub(crate) fn has(self, fault: Mutation) -> bool {
                self.only == Some(fault)
            }

            /// Whether this one is switched on: no.
            #[cfg(not(feature = "mutants"))]
            pub(crate) const fn has(self, _fault: Mutation) -> bool {
                false
            }
        }
    };
}
