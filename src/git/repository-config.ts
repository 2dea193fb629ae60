/**
 * The configuration of every repository, written whole: a push is checked (fsck), written durably, indexed as the pack
 * it came as (unpackLimit; a large pack is neither unpacked nor recompressed), seen by hooks of ours only, and offers
 * and accepts branches, tags and the refs/deploy/* requests and nothing else. Deletions and forced updates are judged
 * by the update hook, which can explain itself. Removal of old objects is scheduled, never part of a push.
 */
export const REPOSITORY_CONFIG = `# Written by dinp at its start; changes made here are lost.
[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	hooksPath = /dev/null
	useReplaceRefs = false
	protectHFS = true
	protectNTFS = true
	fsync = all
	bigFileThreshold = 16m
	logAllRefUpdates = false
[transfer]
	fsckObjects = true
	hideRefs = refs
	hideRefs = !refs/heads
	hideRefs = !refs/tags
	hideRefs = !refs/deploy
[receive]
	fsckObjects = true
	unpackLimit = 1
	autogc = false
	advertisePushOptions = true
	procReceiveRefs = refs/deploy
	denyDeletes = false
	denyDeleteCurrent = refuse
	denyNonFastForwards = false
[gc]
	auto = 0
[protocol]
	allow = never
[submodule]
	recurse = false
`;
