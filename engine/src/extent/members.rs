//! The members of a set: an extent on each of the drives that hold it.

use std::fmt;

use crate::format::FormatDamage;
use crate::format::set::MemberV1;

/// The most members of a set: those of a striped one. A set whose members are copies has at most as many as a shard
/// has homes.
pub const MEMBERS_MAX: usize = crate::format::slice::MEMBERS_OF_SLICES_MAX;

/// An extent on a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Number of the drive in the view.
    pub drive: u16,
    pub extent: u32,
}

/// The number of no drive.
pub(super) const NO_DRIVE: u16 = crate::format::superblock::NO_HOME;

/// One to [`MEMBERS_MAX`] extents on distinct drives. It is kept small, because every lookup carries one
/// from core to core.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Members {
    extents: [u32; MEMBERS_MAX],
    /// The numbers of the drives, and [`NO_DRIVE`] behind the last.
    drives: [u16; MEMBERS_MAX],
}

impl Members {
    /// Returns the only member of a set without copies.
    pub fn one(drive: u16, extent: u32) -> Self {
        let (mut extents, mut drives) = ([0; MEMBERS_MAX], [NO_DRIVE; MEMBERS_MAX]);
        (extents[0], drives[0]) = (extent, drive);
        Self { extents, drives }
    }

    /// Returns a set of members, or `None` when there are none, too many, two on one drive, or one on none.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Option<Self> {
        let (mut extents, mut drives) = ([0; MEMBERS_MAX], [NO_DRIVE; MEMBERS_MAX]);
        let mut count = 0;
        for member in members {
            if member.drive == NO_DRIVE || drives[..count].contains(&member.drive) {
                return None;
            }
            *drives.get_mut(count)? = member.drive;
            extents[count] = member.extent;
            count += 1;
        }
        (count > 0).then_some(Self { extents, drives })
    }

    /// Returns the members that a record or a checkpoint says.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when no set has such members.
    pub fn of_disk(members: &[MemberV1]) -> Result<Self, FormatDamage> {
        if members.iter().any(|member| member.node != 0) {
            return Err(FormatDamage::Field("member of a set"));
        }
        let members = members.iter().map(|member| Member { drive: member.drive, extent: member.extent });
        Self::new(members).ok_or(FormatDamage::Field("members of a set"))
    }

    /// Returns the members as a record or a checkpoint says them.
    pub fn to_disk(self) -> Vec<MemberV1> {
        let to_disk = |member: Member| MemberV1 { node: 0, drive: member.drive, extent: member.extent };
        self.iter().map(to_disk).collect()
    }

    /// Returns these members and one more, which takes the place of the first one on a drive that is to `give_way`;
    /// others on such drives leave. Returns `None` when there are too many, or one is on its drive.
    pub fn with(&self, member: Member, give_way: impl Fn(u16) -> bool) -> Option<Self> {
        let mut new = Some(member);
        let mut all = Vec::with_capacity(MEMBERS_MAX);
        for other in self.iter() {
            all.extend(if give_way(other.drive) { new.take() } else { Some(other) });
        }
        Self::new(all.into_iter().chain(new))
    }

    /// Returns these members but for the one on a drive. Returns `None` when none is left.
    pub fn without(&self, drive: u16) -> Option<Self> {
        Self::new(self.iter().filter(|member| member.drive != drive))
    }

    pub fn first(&self) -> Member {
        Member { drive: self.drives[0], extent: self.extents[0] }
    }

    pub fn iter(&self) -> impl Iterator<Item = Member> {
        let all = self.drives.into_iter().zip(self.extents);
        all.map(|(drive, extent)| Member { drive, extent }).take_while(|member| member.drive != NO_DRIVE)
    }

    /// Returns the number of members.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Returns the extent on the drive with this number, if the set has a member there.
    pub fn on(&self, drive: u16) -> Option<u32> {
        self.iter().find(|member| member.drive == drive).map(|member| member.extent)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_lie_on_distinct_drives_and_come_back_from_the_drive() {
        let of = |pairs: &[(u16, u32)]| {
            Members::new(pairs.iter().map(|&(drive, extent)| Member { drive, extent }))
        };
        let two = of(&[(3, 9), (1, 7)]).expect("two");
        assert_eq!((two.count(), two.first().extent, two.on(1), two.on(2)), (2, 9, Some(7), None));
        assert_eq!(Members::of_disk(&two.to_disk()), Ok(two));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(1, 2), (1, 3)]), None);
        let many = |count: u16| Members::new((0..count).map(|drive| Member { drive, extent: 0 }));
        assert!(many(MEMBERS_MAX as u16).is_some() && many(MEMBERS_MAX as u16 + 1).is_none());
        let with = |drive, gives_way: u16| two.with(Member { drive, extent: 5 }, |drive| drive == gives_way);
        assert_eq!(with(7, 3), of(&[(7, 5), (1, 7)]), "it takes the place of the one that leaves");
        assert_eq!(with(7, 9), of(&[(3, 9), (1, 7), (7, 5)]));
        assert_eq!(with(1, 3), None, "two on one drive");
        assert_eq!((two.without(3), two.without(5)), (of(&[(1, 7)]), Some(two)));
        assert_eq!(of(&[(1, 7)]).expect("one").without(1), None);
        let elsewhere = MemberV1 { node: 1, drive: 0, extent: 0 };
        assert!(Members::of_disk(&[elsewhere]).is_err());
        assert_eq!(of(&[(NO_DRIVE, 0)]), None);
        assert_ne!(of(&[(1, 2)]), of(&[(1, 3)]));
    }
}
