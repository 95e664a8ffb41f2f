import resource

import h5py
import numpy as np
import pytest

from safe_skills.data.episodes import (
    FIRST_EVALUATION_SEED,
    KINDS,
    Episode,
    EpisodeError,
    EpisodeStore,
    read_shard,
    shard_length,
    training_seed,
    write_shard,
)


def make(kind="demo", steps=4, seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = {
        "images": rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        "masks": rng.integers(0, 256, (steps + 1, 8, 8), dtype=np.uint8),
        "actions": rng.normal(size=(steps, 2)).astype(np.float32),
        "rewards": np.array([-1.0] * (steps - 1) + [0.0], dtype=np.float32),
        "costs": np.zeros(steps, dtype=np.float32),
        "terminated": True,
        "truncated": False,
        "success": True,
        "kind": kind,
        "seed": seed,
        "policy": "Demonstrator",
        "layout": "open",
        "revision": "abc",
    }
    return Episode(**{**values, **changes})


def assert_same(one, other):
    for name in Episode.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_what_is_written_is_read(tmp_path):
    episodes = [make(steps=3), make(seed=2**40, terminated=False, violation="cable")]
    write_shard(tmp_path / "demo-00000.hdf5", episodes)
    for written, read in zip(episodes, read_shard(tmp_path / "demo-00000.hdf5"), strict=True):
        assert_same(written, read)
    assert [path.name for path in tmp_path.iterdir()] == ["demo-00000.hdf5"]


def test_files_are_the_same_bytes_each_time(tmp_path):
    for name in ("one", "other"):
        write_shard(tmp_path / name, [make(seed=1), make(seed=2)])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_h5py_alone_finds_minaris_names(tmp_path):
    episode = make(steps=3, violation="")
    write_shard(tmp_path / "demo-00000.hdf5", [episode])
    with h5py.File(tmp_path / "demo-00000.hdf5") as file:
        group = file["episode_0"]
        np.testing.assert_array_equal(group["observations/image"], episode.images)
        np.testing.assert_array_equal(group["observations/mask"], episode.masks)
        np.testing.assert_array_equal(group["infos/cost"], episode.costs)
        assert group["terminations"][()].tolist() == [False, False, True]
        assert group["truncations"][()].tolist() == [False, False, False]
        assert group["actions"].shape == (3, 2) and group["rewards"].shape == (3,)
        expected = {
            "id": 0,
            "total_steps": 3,
            "kind": "demo",
            "seed": 0,
            "policy": "Demonstrator",
            "layout": "open",
            "revision": "abc",
            "success": True,
            "violation": "",
        }
        assert dict(group.attrs) == expected


def test_a_store_keeps_the_order_and_counts_by_kind(tmp_path):
    store = EpisodeStore(tmp_path / "new" / "folder")
    assert len(store) == 0 and list(store) == []
    store.append([make(kind="online", seed=7)])
    store.append([make(seed=1), make(seed=2)])
    store.append([make(kind="online", seed=8), make(kind="online", seed=9)])
    again = EpisodeStore(store.folder)
    assert again.count() == {kind: {"demo": 2, "online": 3}.get(kind, 0) for kind in KINDS}
    assert [episode.seed for episode in again] == [1, 2, 7, 8, 9]
    assert [episode.seed for episode in again.episodes("online")] == [7, 8, 9]
    assert len(again) == 5


def test_appending_episodes_of_two_kinds_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one kind, got \['demo', 'online'\]"):
        EpisodeStore(tmp_path).append([make(), make(kind="online")])


def test_return_and_length():
    assert make(steps=4).episode_return == -3.0 and len(make(steps=4)) == 4


def scripted(seed=3, **changes):
    """An episode of a task without masks, with a number and actuation noise."""
    rewards = np.array([-1.0, -1.0, 1.0], np.float32)
    values = {"masks": None, "layout": "", "task": 7, "noise": 0.25, "rewards": rewards}
    return make("scripted", steps=3, seed=seed, **{**values, **changes})


def test_episodes_without_masks_keep_task_noise_and_success(tmp_path):
    episodes = [scripted(), scripted(task=0, noise=0.0, success=False, violation="finger")]
    write_shard(tmp_path / "scripted-00000.hdf5", episodes)
    for written, read in zip(episodes, EpisodeStore(tmp_path).episodes("scripted"), strict=True):
        assert_same(written, read)
    with h5py.File(tmp_path / "scripted-00000.hdf5") as file:
        group = file["episode_0"]
        assert list(group["observations"]) == ["image"]
        assert (group.attrs["task"], group.attrs["noise"]) == (7, 0.25)
        assert group.attrs["success"] and not file["episode_1"].attrs["success"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 3), np.uint8)}, r"images: expected uint8 \(5, 8, 8, 3\)"),
        ({"images": np.zeros((5, 8, 8), np.uint8)}, "images: expected 4 dimensions"),
        ({"masks": np.zeros((5, 8, 9), np.uint8)}, r"masks: expected uint8 \(5, 8, 8\)"),
        ({"actions": np.zeros(4, np.float32)}, "actions: expected 2 dimensions"),
        ({"actions": np.zeros((4, 2))}, "actions: expected float32 .*, got float64"),
        ({"actions": np.full((4, 2), np.nan, np.float32)}, "actions: expected finite"),
        ({"rewards": np.zeros(5, np.float32)}, r"rewards: expected float32 \(4,\)"),
        ({"costs": np.full(4, np.inf, np.float32)}, "costs: expected finite"),
        ({"kind": "expert"}, "kind: expected one of .*, got 'expert'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(EpisodeError, match=message):
        make(**changes)


def damage(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "not HDF5":
        path.write_bytes(b"images,actions\n1,2\n" * 200)
    elif how == "flipped bits":
        with h5py.File(path) as file:
            dataset = file["episode_1/observations/image"]
            at = dataset.id.get_chunk_info(2).byte_offset + 20
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
    else:
        with h5py.File(path, "r+") as file:
            if how == "foreign HDF5":
                del file.attrs["format"]
            elif how == "another version":
                file.attrs["format"] = "safe_skills episodes 99"
            elif how == "missing episode":
                del file["episode_1"]
            elif how == "missing table":
                del file["episode_0/infos/cost"]
            elif how == "missing attribute":
                del file["episode_0"].attrs["seed"]
            elif how == "short table":
                rewards = file["episode_0/rewards"][:-1]
                del file["episode_0/rewards"]
                file["episode_0/rewards"] = rewards
            elif how == "group in place of a table":
                del file["episode_0/actions"]
                file.create_group("episode_0/actions")
            else:
                raise AssertionError(how)


DAMAGES = [
    "truncated",
    "empty",
    "not HDF5",
    "flipped bits",
    "foreign HDF5",
    "another version",
    "missing episode",
    "missing table",
    "missing attribute",
    "short table",
    "group in place of a table",
]


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_files_are_refused_with_one_line(tmp_path, how):
    path = tmp_path / "demo-00000.hdf5"
    write_shard(path, [make(seed=1), make(seed=2)])
    damage(path, how)
    with pytest.raises(EpisodeError) as refusal:
        list(EpisodeStore(tmp_path))
    assert str(refusal.value).startswith(f"{path}: ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("how", ["truncated", "empty", "not HDF5", "foreign HDF5"])
def test_files_that_cannot_be_counted_are_refused(tmp_path, how):
    path = tmp_path / "demo-00000.hdf5"
    write_shard(path, [make(seed=1), make(seed=2)])
    assert shard_length(path) == 2
    damage(path, how)
    with pytest.raises(EpisodeError, match="demo-00000.hdf5: "):
        EpisodeStore(tmp_path).count()


def test_files_of_another_name_are_refused_and_hidden_ones_ignored(tmp_path):
    write_shard(tmp_path / ".demo-00000.hdf5.xyz.hdf5", [make()])
    assert len(EpisodeStore(tmp_path)) == 0
    write_shard(tmp_path / "main_data.hdf5", [make()])
    with pytest.raises(EpisodeError, match="expected a name like demo-00000.hdf5"):
        EpisodeStore(tmp_path).count()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodeError, match="expected a folder of episodes, got a file"):
        EpisodeStore(tmp_path / "file")
    with pytest.raises(EpisodeError, match="cannot be made"):
        EpisodeStore(tmp_path / "file" / "below")


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "demo-00000.hdf5"
    write_shard(path, [make(seed=1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(EpisodeError, match="demo-00000.hdf5: cannot be written") as refusal:
            write_shard(path, [make(seed=2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(refusal.value)
    assert [episode.seed for episode in read_shard(path)] == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "demo-00000.hdf5"
    write_shard(path, [make(seed=1)])
    with pytest.raises(TypeError):
        write_shard(path, [make(seed=2), None])
    assert [episode.seed for episode in read_shard(path)] == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_training_seeds_never_meet_each_other_nor_evaluation_seeds():
    seeds = [
        training_seed(seed, kind, index)
        for seed in (0, 1, 24)
        for kind in set(KINDS) - {"scripted"}
        for index in (*range(500), 9_999)
    ]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0 and max(seeds) < FIRST_EVALUATION_SEED
    with pytest.raises(ValueError, match="index: expected 0 to 9999, got 10000"):
        training_seed(0, "demo", 10_000)


def test_seeds_of_the_cable_are_those_of_the_shipped_checkpoints():
    """An episode is found again by its seed; collections of earlier versions are completed."""
    kinds = ("demo", "random", "constraint", "online")
    assert [training_seed(1, kind, 5) for kind in kinds] == [10_005, 260_005, 510_005, 760_005]


def test_a_million_steps_of_scripted_episodes_have_seeds_of_their_own():
    seeds = {
        training_seed(seed, "scripted", index) for seed in (0, 9) for index in range(0, 100_000, 7)
    }
    assert len(seeds) == 2 * len(range(0, 100_000, 7)) and max(seeds) < FIRST_EVALUATION_SEED
