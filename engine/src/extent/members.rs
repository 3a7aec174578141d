//! The members of a set: an extent on each of the drives that hold it.

use std::fmt;

use crate::format::FormatDamage;
use crate::format::set::MemberV1;

/// The most members of a set in this version of the program: a copy on each home of a shard.
pub const MEMBERS_MAX: usize = crate::format::superblock::HOMES;

/// An extent on a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Number of the drive in the view.
    pub drive: u16,
    pub extent: u32,
}

/// One to [`MEMBERS_MAX`] extents on distinct drives.
#[derive(Clone, Copy)]
pub struct Members {
    count: u8,
    list: [Member; MEMBERS_MAX],
}

impl Members {
    /// Returns the only member of a set without copies.
    pub fn one(drive: u16, extent: u32) -> Self {
        let mut list = [Member::default(); MEMBERS_MAX];
        list[0] = Member { drive, extent };
        Self { count: 1, list }
    }

    /// Returns a set of members, or `None` when there are none, too many, or two on one drive.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Option<Self> {
        let (mut count, mut list) = (0, [Member::default(); MEMBERS_MAX]);
        for member in members {
            if list[..count].iter().any(|other| other.drive == member.drive) {
                return None;
            }
            *list.get_mut(count)? = member;
            count += 1;
        }
        (count > 0).then_some(Self { count: count as u8, list })
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
        let to_disk = |member: &Member| MemberV1 { node: 0, drive: member.drive, extent: member.extent };
        self.iter().map(to_disk).collect()
    }

    /// Returns these members and one more, or `None` when there are too many, or one is on its drive.
    pub fn with(&self, member: Member) -> Option<Self> {
        Self::new(self.iter().copied().chain([member]))
    }

    pub fn first(&self) -> Member {
        self.list[0]
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.list[..usize::from(self.count)].iter()
    }

    /// Returns the number of members.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Returns the extent on the drive with this number, if the set has a member there.
    pub fn on(&self, drive: u16) -> Option<u32> {
        self.iter().find(|member| member.drive == drive).map(|member| member.extent)
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Members {}

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
        assert_eq!(of(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]), None);
        let elsewhere = MemberV1 { node: 1, drive: 0, extent: 0 };
        assert!(Members::of_disk(&[elsewhere]).is_err());
        assert_ne!(of(&[(1, 2)]), of(&[(1, 3)]));
    }
}
