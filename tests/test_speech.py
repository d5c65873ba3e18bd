"""The separator `speech`: the contract with a native runtime, one state for each channel.

The voice is synthetic (a buzz through moving formants, in syllables), so that the tests
need no recordings; the noise is pink-ish. How well real voices are told from real noise is
measured elsewhere; here it is that speech is kept, noise is not, and all else is exact.
"""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from stembridge.chain import SeparationChain
from stembridge.errors import NotAvailableError, PromptError
from stembridge.prompts import EncodedPrompt, ExamplePrompt, NamePrompt, Query, TextPrompt
from stembridge.separators import SEPARATORS, load_separator, speech_runtime
from stembridge.separators.speech import SpeechStream

RATE = 48000


def voice(seconds: float) -> np.ndarray:
    """A buzz of 110 to 150 Hz through three formants that move, in four syllables a second."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 130 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    out = np.zeros_like(time)
    sway = 0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * time)
    formants = [(300 + 500 * sway, 90, 1.0), (2200 - 1100 * sway, 120, 0.5), (2800, 200, 0.25)]
    for harmonic in range(1, 30):
        level = sum(a / (1 + ((harmonic * pitch - f) / w) ** 2) for f, w, a in formants)
        out += level * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1) ** 0.5
    return (0.1 * out * syllables).astype(np.float32)[np.newaxis]


def hiss(seconds: float, seed: int = 5) -> np.ndarray:
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(int(seconds * RATE)))
    pink = np.fft.irfft(white / np.sqrt(np.arange(white.size) + 50.0), int(seconds * RATE))
    return (0.05 * pink / pink.std()).astype(np.float32)[np.newaxis]


def ratio_db(wanted: np.ndarray, got: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio."""
    scale = float((wanted * got).sum() / (wanted * wanted).sum())
    error = got - scale * wanted
    return 10 * np.log10(float(((scale * wanted) ** 2).sum() / (error**2).sum()))


@pytest.fixture(scope="module")
def separator():
    return load_separator("speech")


@pytest.fixture(scope="module")
def keep(separator):
    return Query(keep=(separator.encode(NamePrompt("speech")),))


@pytest.fixture(scope="module")
def remove(separator):
    return Query(remove=(separator.encode(NamePrompt("dialogue")),))


def test_it_is_listed_as_embedded_and_available_here(separator):
    assert SEPARATORS["speech"].embedded
    assert speech_runtime.missing() is None
    assert (separator.sample_rate, separator.channels) == (48000, 1)
    assert separator.space.startswith("speech:") and len(separator.space) == 15


def test_speech_is_kept_noise_is_not_in_place(separator, keep, remove):
    clean, noise = voice(4), hiss(4)
    stems = separator.separate(clean + noise, [keep, remove])
    assert stems.shape == (2, 1, clean.shape[1])
    late = slice(RATE, None)  # the network settles within the first second
    before = ratio_db(clean[:, late], (clean + noise)[:, late])
    assert ratio_db(clean[:, late], stems[0][:, late]) > before + 5
    # In place: a shift by one sample to either side fits worse.
    fits = [
        ratio_db(clean[:, late], np.roll(stems[0], shift, axis=1)[:, late]) for shift in (-1, 0, 1)
    ]
    assert fits[1] == max(fits)
    np.testing.assert_allclose(stems[0] + stems[1], clean + noise, atol=1e-6)


def test_streams_equal_offline_bit_for_bit_in_all_modes(separator, keep):
    mixture = voice(1.2) + hiss(1.2)
    offline = separator.separate(mixture, [keep])
    for mode, sizes in [("live", [480]), ("mix", [1, 479, 777]), ("render", [100_000])]:
        stream = separator.stream([keep], mode)
        assert stream.latency_samples == 1440 + 479
        assert stream.latency_for_block(480) == 1440
        out, start, turn = [], 0, 0
        while start < mixture.shape[1]:
            size = sizes[turn % len(sizes)]
            out.append(stream.push(mixture[:, start : start + size]))
            start, turn = start + size, turn + 1
            pushed = min(start, mixture.shape[1])
            assert sum(o.shape[2] for o in out) == max(0, pushed // 480 * 480 - 1440)
        out.append(stream.flush())
        np.testing.assert_array_equal(np.concatenate(out, axis=2), offline)


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481, 1439, 1440, 1441])
def test_any_length_comes_out_whole(separator, keep, samples):
    mixture = hiss(0.1)[:, :samples]
    assert separator.separate(mixture, [keep]).shape == (1, 1, samples)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (16000, 1), (48000, 3)])
def test_through_the_chain_at_any_rate_with_a_state_per_channel(separator, keep, rate, channels):
    from stembridge.resample import resample

    mono = resample(voice(1) + hiss(1), RATE, rate)
    audio = np.concatenate([mono * (1 - 0.4 * c) for c in range(channels)])
    chain = SeparationChain(keep, rate, channels, separator=separator)
    assert len(chain.streams) == channels
    blocks = [chain.push(audio[:, :7001]), chain.push(audio[:, 7001:]), chain.flush()]
    target = np.concatenate([b.target for b in blocks], axis=1)
    remainder = np.concatenate([b.remainder for b in blocks], axis=1)
    np.testing.assert_allclose(target + remainder, audio, rtol=0, atol=1e-6)
    alone = SeparationChain(keep, rate, 1, separator=separator)
    blocks = [alone.push(audio[:1]), alone.flush()]
    np.testing.assert_array_equal(np.concatenate([b.target for b in blocks], axis=1)[0], target[0])


def test_silence_in_is_silence_out_also_after_speech(separator, keep, remove):
    silence = np.zeros((1, RATE), np.float32)
    assert not separator.separate(silence, [keep, remove]).any()
    after = separator.separate(np.concatenate((voice(0.5), silence), axis=1), [keep, remove])
    assert not after[:, :, RATE // 2 + 480 :].any()


def test_a_reset_stream_is_as_new(separator, keep):
    mixture = voice(0.4)
    stream = separator.stream([keep])
    first = np.concatenate((stream.push(mixture), stream.flush()), axis=2)
    stream.push(hiss(0.3))
    stream.reset()
    second = np.concatenate((stream.push(mixture), stream.flush()), axis=2)
    np.testing.assert_array_equal(first, second)


def test_queries_swap_within_one_step_without_a_click(separator, keep, remove):
    mixture = voice(0.6) + hiss(0.6)
    stems = separator.separate(mixture, [keep, remove])
    stream = separator.stream([keep])
    half = 480 * 30
    out = [stream.push(mixture[:, :half])]
    stream.set_queries([remove])
    out += [stream.push(mixture[:, half:]), stream.flush()]
    heard = np.concatenate(out, axis=2)[0]
    swap = half - 1440
    np.testing.assert_array_equal(heard[:, :swap], stems[0][:, :swap])
    np.testing.assert_array_equal(heard[:, swap + 480 :], stems[1][:, swap + 480 :])
    blend = np.arange(1, 481, dtype=np.float32) / 480
    expected = (1 - blend) * stems[0][:, swap : swap + 480] + blend * stems[1][:, swap : swap + 480]
    np.testing.assert_allclose(heard[:, swap : swap + 480], expected, atol=1e-6)
    with pytest.raises(ValueError, match="number"):
        stream.set_queries([keep, keep])


@pytest.mark.parametrize(
    ("prompt", "advice"),
    [
        (NamePrompt("drums"), "unet"),
        (TextPrompt("a voice"), "'speech' and 'dialogue'"),
        (ExamplePrompt(()), "takes no example"),
    ],
)
def test_other_prompts_are_refused_with_advice(separator, prompt, advice):
    with pytest.raises(PromptError, match=advice):
        separator.encode(prompt)


def test_contradictions_and_foreign_vectors_are_refused(separator, keep):
    both = Query(keep=keep.keep, remove=keep.keep)
    with pytest.raises(PromptError, match="one of the two"):
        separator.stream([both])
    foreign = Query(keep=(EncodedPrompt("unet:1234", np.ones(1)),))
    with pytest.raises(PromptError, match="unet:1234"):
        separator.stream([foreign])


def test_states_made_and_used_in_several_threads_do_not_mix(separator, keep):
    inputs = [voice(0.3) * level for level in (0.2, 0.5, 1.0)]
    expected = [separator.separate(audio, [keep]) for audio in inputs]
    streams = [separator.stream([keep]) for _ in inputs]  # made here, run there
    results: list[np.ndarray | None] = [None] * len(inputs)

    def work(index: int) -> None:
        results[index] = np.concatenate(
            (streams[index].push(inputs[index]), streams[index].flush()), axis=2
        )

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_native_states_are_freed_exactly_once(separator, keep, monkeypatch):
    library, model, digest = speech_runtime._runtime()
    made: list[int] = []
    freed: list[int] = []

    class Counting:
        df_get_frame_length = library.df_get_frame_length
        df_process_frame = library.df_process_frame

        @staticmethod
        def df_create(*arguments):
            made.append(library.df_create(*arguments))
            return made[-1]

        @staticmethod
        def df_free(handle):
            freed.append(handle)
            library.df_free(handle)

    monkeypatch.setattr(speech_runtime, "_runtime", lambda: (Counting, model, digest))
    stream = SpeechStream(separator.space, [keep])
    assert not made, "nothing is loaded before there is audio"
    stream.push(hiss(0.05))
    stream.flush()
    stream.push(hiss(0.05))
    assert len(made) == 2 and freed == made[:1]
    del stream
    gc.collect()
    assert freed == made


def test_where_there_is_no_runtime_the_list_says_so(monkeypatch):
    monkeypatch.setattr(speech_runtime, "find_spec", lambda _: None)
    why = speech_runtime.missing()
    assert why is not None and "not available on this platform" in why
    with pytest.raises(NotAvailableError, match="not available on this platform"):
        load_separator("speech", fresh=True)


def test_a_library_that_does_not_load_is_one_clear_error(monkeypatch):
    def refuse(_path):
        raise OSError("wrong ELF class")

    speech_runtime._runtime.cache_clear()
    monkeypatch.setattr(speech_runtime.ctypes, "CDLL", refuse)
    try:
        why = speech_runtime.missing()
    finally:
        monkeypatch.undo()
        speech_runtime._runtime.cache_clear()
    assert why is not None and "wrong ELF class" in why and "unet" in why
