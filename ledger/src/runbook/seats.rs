//! Matches people to the sign-offs that a gate requires: each is a seat of a role, and a person
//! takes at most one seat of a gate.

use super::model::Gate;

/// A sign-off still required, and who could give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat<'a> {
    pub(crate) role: &'a str,
    pub(crate) persons: Vec<&'a str>,
}

/// Returns the sign-offs still required at a gate, with those who may give them: not people who
/// have already signed, nor people who took part in the phase if the gate excludes them. Lint
/// applies this rule before anyone has acted, and `status` applies it for its advice. Per role it
/// returns at most one seat more than can be filled.
pub(crate) fn of_gate<'a>(
    gate: &'a Gate,
    members: impl Fn(&'a str) -> &'a [String],
    signed: &[(&str, &str)],
    has_hand_in: impl Fn(&str) -> bool,
) -> Vec<Seat<'a>> {
    let taken = |role: &str| {
        let given = signed.iter().filter(|(_, signed_as)| *signed_as == role);
        u32::try_from(given.count()).unwrap_or(u32::MAX)
    };
    let may = |person: &str| {
        signed.iter().all(|(signer, _)| *signer != person)
            && !(gate.not_executor && has_hand_in(person))
    };
    let mut seats = Vec::new();
    for rule in &gate.sign_offs {
        let persons: Vec<&str> = members(&rule.role)
            .iter()
            .map(String::as_str)
            .filter(|person| may(person))
            .collect();
        let open = usize::try_from(rule.quorum.saturating_sub(taken(&rule.role)))
            .unwrap_or(usize::MAX)
            .min(persons.len() + 1);
        seats.extend((0..open).map(|_| Seat {
            role: &rule.role,
            persons: persons.clone(),
        }));
    }
    seats
}

/// Returns the seats that stay empty when as many as possible are filled, each person taking one.
pub(crate) fn left_empty<'s, 'a>(seats: &'s [Seat<'a>]) -> Vec<&'s Seat<'a>> {
    let mut taken: Vec<(&str, usize)> = Vec::new();
    let mut empty = Vec::new();
    for (index, seat) in seats.iter().enumerate() {
        if !fill(seats, index, &mut taken, &mut Vec::new()) {
            empty.push(seat);
        }
    }
    empty
}

/// Returns who may take a seat of a role such that all others can still be filled.
pub(crate) fn helpful<'a>(seats: &[Seat<'a>], role: &str) -> Vec<&'a str> {
    let Some(at) = seats.iter().position(|seat| seat.role == role) else {
        return Vec::new();
    };
    let mut helpful = Vec::new();
    for person in seats
        .get(at)
        .map(|seat| seat.persons.clone())
        .unwrap_or_default()
    {
        let others: Vec<Seat<'_>> = seats
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != at)
            .map(|(_, seat)| Seat {
                role: seat.role,
                persons: seat
                    .persons
                    .iter()
                    .copied()
                    .filter(|other| *other != person)
                    .collect(),
            })
            .collect();
        if left_empty(&others).is_empty() {
            helpful.push(person);
        }
    }
    helpful
}

/// Fills a seat, possibly moving people to other seats (Kuhn's augmenting path).
fn fill<'a>(
    seats: &[Seat<'a>],
    index: usize,
    taken: &mut Vec<(&'a str, usize)>,
    asked: &mut Vec<&'a str>,
) -> bool {
    let Some(seat) = seats.get(index) else {
        return false;
    };
    for person in &seat.persons {
        if asked.contains(person) {
            continue;
        }
        asked.push(person);
        let sits = taken.iter().position(|(name, _)| name == person);
        match sits {
            None => {
                taken.push((person, index));
                return true;
            }
            Some(at) => {
                let elsewhere = taken.get(at).map_or(index, |(_, seat)| *seat);
                if fill(seats, elsewhere, taken, asked) {
                    // The person who moved has a new entry; the old entry now belongs to this seat.
                    if let Some(entry) = taken.get_mut(at) {
                        entry.1 = index;
                    }
                    return true;
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats<'a>(list: &[(&'a str, &[&'a str])]) -> Vec<Seat<'a>> {
        list.iter()
            .map(|(role, persons)| Seat {
                role,
                persons: persons.to_vec(),
            })
            .collect()
    }

    fn empty<'a>(list: &[(&'a str, &[&'a str])]) -> Vec<&'a str> {
        let seats = seats(list);
        left_empty(&seats).iter().map(|seat| seat.role).collect()
    }

    #[test]
    fn seats_are_filled_where_they_can_be() {
        assert_eq!(empty(&[("a", &["x"]), ("b", &["x"])]), ["b"]);
        assert!(empty(&[("a", &["x", "y"]), ("b", &["x"])]).is_empty());
        assert!(empty(&[("a", &["x", "y"]), ("b", &["x", "z"]), ("c", &["x"])]).is_empty());
        assert_eq!(
            empty(&[("a", &["x", "y"]), ("b", &["x", "y"]), ("c", &["x", "y"])]),
            ["c"]
        );
        assert_eq!(empty(&[("a", &[])]), ["a"]);
        // A long chain of people who must move.
        assert!(
            empty(&[
                ("a", &["1", "2"]),
                ("b", &["2", "3"]),
                ("c", &["3", "4"]),
                ("d", &["1"]),
            ])
            .is_empty()
        );
    }

    #[test]
    fn advice_strands_nobody() {
        let seats = seats(&[("eng", &["alice", "bob"]), ("lead", &["alice"])]);
        assert_eq!(helpful(&seats, "eng"), ["bob"]);
        assert_eq!(helpful(&seats, "lead"), ["alice"]);
    }
}
