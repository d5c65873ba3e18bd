"""Training of the embedded separator: recordings in, a weights file out.

The road is a line of small stages, each a module:

    pack      the folder of recordings, read by its index, decoded once
    songs     bands from MIDI, rendered in slots by fluidsynth
    sampler   the same notes and drum hits played on the recorded samples
    synthesis drum machines, basses and chords of electronic music, made of nothing
    textures  swept noise, beds and drones, which belong to no note
    effects   what a studio does to a stem
    shelves   all of that written once to disk as long stereo rows of material
    mixer     mixtures drawn from the shelves, cheap enough to keep a trainer busy
    losses    ratio masks and the error they are judged by
    trainer   the loop: seeded, resumable exactly, logged
    validation  real songs and a fixed synthetic set
    settings, prompted, checkpoint  what decides a run, what is trained, how it is kept
    blend     averages of a run with other weights
    export    eight bits per output channel, with origin and licences
    examples, library  prompts by example clip and by library text

Nothing here is imported by the separator; the extra `[train]` brings what it needs
beyond the package.
"""
