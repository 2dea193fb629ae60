/**
 * The configuration of every repository, written whole, and the one place of these rules: what a single process is told
 * besides is in receive-pack.ts. A push is checked (fsck), written durably, indexed as the pack it came as (unpackLimit
 * and bigFileThreshold: a large pack is neither unpacked nor read into memory, which is four times faster and takes a
 * hundredth of the memory), seen by hooks of ours only, and offers and accepts branches, tags and the refs/deploy/*
 * requests and nothing else. Deletions and forced updates are judged by the update hook, which can explain itself.
 * Removal of old objects is scheduled, never part of a push.
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
	denyDeleteCurrent = ignore
	denyNonFastForwards = false
[uploadpack]
	allowFilter = true
[gc]
	auto = 0
[protocol]
	allow = never
[submodule]
	recurse = false
`;
