//! What all subscribers of a publisher ask for: a radix tree of byte prefixes, each with the number
//! of subscribers that want it.
//!
//! A topic's class is the longest prefix of it that anybody wants. It is found once for each
//! message; whether one subscriber wants the message is then a matter of numbers: the class, or a
//! prefix above it in the tree, is among the subscriber's.

/// A prefix's place in the tree.
pub(super) type Class = u32;

const ROOT: Class = 0;
/// What a prefix costs besides its bytes, roughly.
pub(super) const OVERHEAD: usize = 128;
/// Prefixes that nobody wants any more are kept until there are so many of them, or they take so
/// many bytes, and more than the others.
const MIN_DEAD: usize = 64;
const MIN_DEAD_BYTES: usize = 256 << 10;

/// The tree.
#[derive(Debug)]
pub(super) struct Interests {
    nodes: Vec<Node>,
    /// Prefixes that somebody wants.
    live: usize,
    /// Prefixes that nobody wants any more, still in the tree.
    dead: usize,
    /// Bytes of the one and the other, with their overhead.
    live_bytes: usize,
    dead_bytes: usize,
    /// Changes when classes get new numbers.
    epoch: u64,
    /// Changes with the set of live prefixes.
    version: u64,
}

#[derive(Debug)]
struct Node {
    /// What it adds to its parent's prefix.
    label: Box<[u8]>,
    parent: Class,
    /// By the first byte of their labels, in its order.
    children: Vec<(u8, Class)>,
    /// So many subscribers want this very prefix.
    wanted: usize,
    /// Nobody does any more.
    dead: bool,
}

impl Node {
    fn new(label: &[u8], parent: Class) -> Self {
        Self {
            label: label.into(),
            parent,
            children: Vec::new(),
            wanted: 0,
            dead: false,
        }
    }

    fn child(&self, first: u8) -> Result<Class, usize> {
        // Most have one child or a few.
        for (at, &(byte, class)) in self.children.iter().enumerate().take(8) {
            if byte >= first {
                return if byte == first { Ok(class) } else { Err(at) };
            }
        }
        let found = self.children.binary_search_by_key(&first, |child| child.0);
        found.map(|at| self.children.get(at).map_or(ROOT, |child| child.1))
    }
}

impl Default for Interests {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(&[], ROOT)],
            live: 0,
            dead: 0,
            live_bytes: 0,
            dead_bytes: 0,
            epoch: 0,
            version: 1,
        }
    }
}

impl Interests {
    /// Classes are comparable within one epoch only.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Changes with the set of prefixes that are wanted; above 0.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What the prefixes take that somebody wants, roughly, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.live_bytes
    }

    /// Whether anybody wants this very prefix.
    pub(super) fn is_wanted(&self, class: Class) -> bool {
        self.node(class).is_some_and(|node| node.wanted > 0)
    }

    /// What a prefix takes, roughly, in bytes.
    fn cost(&self, class: Class) -> usize {
        let nodes = self.up(class).filter_map(|class| self.node(class));
        OVERHEAD + nodes.map(|node| node.label.len()).sum::<usize>()
    }

    /// The class of a topic; `None` if nobody wants it.
    #[inline]
    pub(super) fn classify(&self, topic: &[u8]) -> Option<Class> {
        let mut node = self.nodes.first()?;
        let mut found = (node.wanted > 0).then_some(ROOT);
        let mut rest = topic;
        while let Some(&first) = rest.first() {
            let Ok(class) = node.child(first) else { break };
            node = self.node(class)?;
            let Some(after) = rest.strip_prefix(&*node.label) else {
                break;
            };
            rest = after;
            if node.wanted > 0 {
                found = Some(class);
            }
        }
        found
    }

    /// The class itself, then those of all shorter prefixes.
    pub(super) fn up(&self, class: Class) -> impl Iterator<Item = Class> {
        let mut next = Some(class);
        std::iter::from_fn(move || {
            let class = next?;
            next = match class {
                ROOT => None,
                class => self.node(class).map(|node| node.parent),
            };
            Some(class)
        })
    }

    /// The class of this very prefix, wanted or not.
    pub(super) fn get(&self, prefix: &[u8]) -> Option<Class> {
        let (class, matched, rest) = self.descend(prefix);
        let whole = self.node(class).map_or(0, |node| node.label.len());
        (rest.is_empty() && matched == whole).then_some(class)
    }

    /// One more subscriber wants this prefix.
    pub(super) fn add(&mut self, prefix: &[u8]) -> Class {
        let class = self.insert(prefix);
        let cost = prefix.len() + OVERHEAD;
        let (mut first, mut revived) = (false, false);
        if let Some(node) = self.node_mut(class) {
            first = node.wanted == 0;
            node.wanted += 1;
            revived = std::mem::take(&mut node.dead);
        }
        if first {
            self.live += 1;
            self.live_bytes += cost;
            self.version += 1;
        }
        if revived {
            self.dead -= 1;
            self.dead_bytes -= cost;
        }
        class
    }

    /// One subscriber less wants this prefix.
    pub(super) fn remove(&mut self, class: Class) {
        let cost = self.cost(class);
        let Some(node) = self.node_mut(class).filter(|node| node.wanted > 0) else {
            return;
        };
        node.wanted -= 1;
        if node.wanted == 0 {
            node.dead = true;
            self.live -= 1;
            self.live_bytes -= cost;
            self.dead += 1;
            self.dead_bytes += cost;
            self.version += 1;
        }
    }

    /// Forgets what nobody wants any more, if that is worth it: the new number of each old class
    /// that is still wanted.
    pub(super) fn prune(&mut self) -> Option<Vec<Option<Class>>> {
        let few = self.dead < MIN_DEAD.max(self.live);
        if few && self.dead_bytes < MIN_DEAD_BYTES.max(self.live_bytes) {
            return None;
        }
        let mut new = Self {
            epoch: self.epoch + 1,
            ..Self::default()
        };
        let mut numbers = vec![None; self.nodes.len()];
        for (prefix, class, wanted) in self.live() {
            let number = new.add(&prefix);
            if let Some(node) = new.node_mut(number) {
                node.wanted = wanted;
            }
            if let Some(place) = numbers.get_mut(class as usize) {
                *place = Some(number);
            }
        }
        new.version = self.version;
        *self = new;
        Some(numbers)
    }

    /// All prefixes that somebody wants.
    pub(super) fn prefixes(&self) -> Vec<Vec<u8>> {
        self.live().map(|(prefix, ..)| prefix).collect()
    }

    fn live(&self) -> impl Iterator<Item = (Vec<u8>, Class, usize)> {
        let mut stack = vec![(Vec::new(), ROOT)];
        std::iter::from_fn(move || {
            loop {
                let (prefix, class) = stack.pop()?;
                let node = self.node(class)?;
                for &(_, child) in node.children.iter().rev() {
                    if let Some(label) = self.node(child).map(|child| &child.label) {
                        stack.push(([&prefix, &**label].concat(), child));
                    }
                }
                if node.wanted > 0 {
                    return Some((prefix, class, node.wanted));
                }
            }
        })
    }

    fn node(&self, class: Class) -> Option<&Node> {
        self.nodes.get(class as usize)
    }

    fn node_mut(&mut self, class: Class) -> Option<&mut Node> {
        self.nodes.get_mut(class as usize)
    }

    /// As far down as `prefix` goes: the last node whose label it enters, how much of that label it
    /// matches, and what is left of it.
    fn descend<'p>(&self, prefix: &'p [u8]) -> (Class, usize, &'p [u8]) {
        let mut class = ROOT;
        let mut rest = prefix;
        loop {
            let child = match (self.node(class), rest.first()) {
                (Some(node), Some(&first)) => node.child(first).ok(),
                _ => None,
            };
            let Some((child, node)) = child.and_then(|child| Some((child, self.node(child)?)))
            else {
                let whole = self.node(class).map_or(0, |node| node.label.len());
                return (class, whole, rest);
            };
            let common = common(&node.label, rest);
            rest = rest.get(common..).unwrap_or_default();
            class = child;
            if common < node.label.len() {
                return (class, common, rest);
            }
        }
    }

    /// The node of this prefix, made if there is none.
    fn insert(&mut self, prefix: &[u8]) -> Class {
        let (mut class, matched, rest) = self.descend(prefix);
        let label = self.node(class).map_or(&[][..], |node| &node.label);
        if matched < label.len() {
            class = self.split(class, matched);
        }
        if rest.is_empty() {
            return class;
        }
        self.attach(Node::new(rest, class))
    }

    /// Puts a new node between this one and its parent, with the first `at` bytes of its label.
    fn split(&mut self, class: Class, at: usize) -> Class {
        let Some(node) = self.node_mut(class) else {
            return ROOT;
        };
        let (upper, lower) = node.label.split_at_checked(at).unwrap_or_default();
        let upper = Node::new(upper, node.parent);
        let lower: Box<[u8]> = lower.into();
        let first = lower.first().copied().unwrap_or_default();
        node.label = lower;
        let middle = self.attach(upper);
        if let Some(node) = self.node_mut(class) {
            node.parent = middle;
        }
        if let Some(node) = self.node_mut(middle) {
            node.children.push((first, class));
        }
        middle
    }

    /// Adds a node below its parent, in the place of a child with the same first byte.
    fn attach(&mut self, node: Node) -> Class {
        let class = self.nodes.len() as Class;
        let first = node.label.first().copied().unwrap_or_default();
        if let Some(parent) = self.node_mut(node.parent) {
            let children = &mut parent.children;
            match children.binary_search_by_key(&first, |child| child.0) {
                Ok(at) => {
                    if let Some(child) = children.get_mut(at) {
                        child.1 = class;
                    }
                }
                Err(at) => children.insert(at, (first, class)),
            }
        }
        self.nodes.push(node);
        class
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_topic_is_wanted_when_any_of_its_prefixes_is_in_the_tree() {
        let mut tree = Interests::default();
        for prefix in ["org.a", "org.abc.d", "org.b.", "zz"] {
            tree.add(prefix.as_bytes());
        }
        for (topic, expected) in [
            ("org.a", true),
            ("org.abc", true),
            ("org.abc.zzz", true),
            ("org.b", false),
            ("org.b.x", true),
            ("org.", false),
            ("", false),
            ("z", false),
            ("zzz", true),
            ("zzzz", true),
        ] {
            assert_eq!(
                tree.classify(topic.as_bytes()).is_some(),
                expected,
                "{topic}"
            );
        }
        tree.remove(tree.get(b"org.a").unwrap());
        assert!(tree.classify(b"org.abc").is_none());
        tree.add(b"");
        assert!(tree.classify(b"").is_some());
        assert!(tree.classify(b"anything").is_some());
    }

    /// Against a plain map, over a small alphabet so that prefixes meet.
    #[test]
    fn it_says_what_a_plain_list_says() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut tree = Interests::default();
        let mut plain: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut pruned = 0;
        for step in 0..8000 {
            // At first more come than go, then the other way round.
            let adds = if step < 2000 { 6 } else { 1 };
            let text: Vec<u8> = (0..random(7)).map(|_| b'a' + random(3) as u8).collect();
            if random(10) < adds {
                tree.add(&text);
                *plain.entry(text.clone()).or_default() += 1;
            } else if let Some(count) = plain.get_mut(&text) {
                tree.remove(tree.get(&text).unwrap());
                *count -= 1;
                if *count == 0 {
                    plain.remove(&text);
                }
            }
            if let Some(numbers) = tree.prune() {
                pruned += 1;
                assert_eq!(numbers.iter().flatten().count(), plain.len());
            }
            let bytes: usize = plain.keys().map(|prefix| prefix.len() + OVERHEAD).sum();
            assert_eq!(tree.bytes(), bytes);
            let topic: Vec<u8> = (0..random(9)).map(|_| b'a' + random(3) as u8).collect();
            let among = plain.keys().filter(|prefix| topic.starts_with(prefix));
            let longest = among.max_by_key(|prefix| prefix.len());
            let class = tree.classify(&topic);
            assert_eq!(class, longest.and_then(|prefix| tree.get(prefix)));
            if let Some(class) = class {
                let above: Vec<Class> = tree.up(class).collect();
                for prefix in plain.keys() {
                    let wanted = topic.starts_with(prefix);
                    assert_eq!(above.contains(&tree.get(prefix).unwrap()), wanted);
                }
            }
        }
        assert!(pruned > 0);
        let mut prefixes = tree.prefixes();
        prefixes.sort();
        assert_eq!(prefixes, plain.into_keys().collect::<Vec<_>>());
    }
}
