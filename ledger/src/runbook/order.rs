//! The order of a plan, computed once on loading, so that a question about everything before a step
//! needs one walk, not one per step.

use std::collections::HashSet;

/// The nodes (steps and phases), each with its direct predecessors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// Every node once, in topological order. Nodes of a cycle, which lint refuses, come last.
    sorted: Vec<usize>,
}

impl Order {
    pub(super) fn of(before: Vec<Vec<usize>>) -> Self {
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
        let mut open: Vec<usize> = before.iter().map(Vec::len).collect();
        for (node, needs) in before.iter().enumerate() {
            for need in needs {
                if let Some(nodes) = after.get_mut(*need) {
                    nodes.push(node);
                }
            }
        }
        let is_ready = |node: &usize| open.get(*node) == Some(&0);
        let mut sorted: Vec<usize> = (0..before.len()).filter(is_ready).collect();
        let mut at = 0;
        while let Some(node) = sorted.get(at).copied() {
            at += 1;
            for next in after.get(node).into_iter().flatten() {
                if let Some(left) = open.get_mut(*next) {
                    *left -= 1;
                    if *left == 0 {
                        sorted.push(*next);
                    }
                }
            }
        }
        let known: HashSet<usize> = sorted.iter().copied().collect();
        sorted.extend((0..before.len()).filter(|node| !known.contains(node)));
        Self {
            before,
            after,
            sorted,
        }
    }

    /// Returns the number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.before.len()
    }

    /// Returns the direct predecessors of a node.
    pub(crate) fn before(&self, node: usize) -> &[usize] {
        self.before.get(node).map_or(&[], Vec::as_slice)
    }

    /// Returns the direct successors of a node.
    pub(crate) fn after(&self, node: usize) -> &[usize] {
        self.after.get(node).map_or(&[], Vec::as_slice)
    }

    /// Returns for each node the greatest of the `own` values of all nodes before it.
    pub(super) fn greatest_before<V: Ord + Copy>(
        &self,
        own: impl Fn(usize) -> Option<V>,
    ) -> Vec<Option<V>> {
        let mut found: Vec<Option<V>> = vec![None; self.before.len()];
        // Includes the node's own value, for its successors.
        let mut upto: Vec<Option<V>> = vec![None; self.before.len()];
        for node in &self.sorted {
            let needs = self.before.get(*node).into_iter().flatten();
            let before = needs
                .filter_map(|need| upto.get(*need).copied().flatten())
                .max();
            if let (Some(found), Some(upto)) = (found.get_mut(*node), upto.get_mut(*node)) {
                *found = before;
                *upto = before.max(own(*node));
            }
        }
        found
    }

    /// Returns all direct and indirect predecessors of a node.
    pub(super) fn all_before(&self, node: usize) -> HashSet<usize> {
        let mut seen = HashSet::new();
        let mut open = vec![node];
        while let Some(next) = open.pop() {
            for need in self.before.get(next).into_iter().flatten() {
                if seen.insert(*need) {
                    open.push(*need);
                }
            }
        }
        seen
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_counts_however_far_and_circles_end() {
        // 0 ← 1 ← 2, 3 ← 2, and 4 ⇄ 5.
        let order = Order::of(vec![
            vec![],
            vec![0],
            vec![1, 3],
            vec![],
            vec![5],
            vec![4, 0],
        ]);
        let greatest = order.greatest_before(|node| Some(10 - node));
        assert_eq!(greatest.get(..4).unwrap(), [None, Some(10), Some(10), None]);
        assert_eq!(order.all_before(2), HashSet::from([0, 1, 3]));
        assert_eq!(order.all_before(4), HashSet::from([0, 4, 5]));
    }
}
