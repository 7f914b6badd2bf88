"""How many parameters each model has.

The counts of ViTs and hybrids follow from the shapes in the released files
and agree with their sizes; those of BiT agree with Kolesnikov et al. (2020)
in the digits printed there. A count that changes is a fault, unless the model
was meant to change: then compute it by hand and store it in the same commit.
"""

# Name: at 224 pixels, at 384 (where a grid of 14 pixels does not fit and no
# released Mixer is), with a head of 1,000 classes.
IMAGENET = {
  'ViT-Ti/16': (5_717_416, 5_790_376),
  'ViT-S/16': (22_050_664, 22_196_584),
  'ViT-S/32': (22_878_952, 22_915_432),
  'ViT-B/8': (86_576_872, 87_744_232),
  'ViT-B/16': (86_567_656, 86_859_496),
  'ViT-B/32': (88_224_232, 88_297_192),
  'ViT-L/16': (304_326_632, 304_715_752),
  'ViT-L/32': (306_535_400, 306_632_680),
  'ViT-H/14': (632_045_800, None),
  'ViT-g/14': (1_012_611_432, None),
  'ViT-G/14': (1_844_440_680, None),
  'R+ViT-Ti/16': (6_337_704, 6_355_944),
  'R26+ViT-S/32': (36_431_912, 36_468_392),
  'R26+ViT-B/32': (101_383_976, 101_456_936),
  'R50+ViT-B/16': (98_659_112, 98_950_952),
  'R50+ViT-B/32': (110_945_832, 111_018_792),
  'R50+ViT-L/16': (316_483_624, 316_872_744),
  'R50+ViT-L/32': (328_994_856, 329_092_136),
  'BiT-R50x1': (25_549_352, 25_549_352),
  'BiT-R50x2': (97_988_712, 97_988_712),
  'BiT-R50x3': (217_319_080, 217_319_080),
  'BiT-R101x1': (44_541_480, 44_541_480),
  'BiT-R101x2': (173_852_776, 173_852_776),
  'BiT-R101x3': (387_934_888, 387_934_888),
  'BiT-R152x1': (60_185_128, 60_185_128),
  'BiT-R152x2': (236_335_208, 236_335_208),
  'BiT-R152x4': (936_533_224, 936_533_224),
  'BiT-R200x3': (568_633_000, 568_633_000),
  'Mixer-S/8': (20_646_504, None),
  'Mixer-S/16': (18_528_264, None),
  'Mixer-S/32': (19_104_624, None),
  'Mixer-B/16': (59_880_472, None),
  'Mixer-B/32': (60_293_428, None),
  'Mixer-L/16': (208_196_168, None),
  'Mixer-L/32': (206_939_264, None),
  'Mixer-H/14': (432_350_952, None),
}

# At 224 pixels with a head of 21,843 classes.
IMAGENET_21K = {
  'ViT-Ti/16': 9_740_115,
  'ViT-S/16': 30_075_219,
  'ViT-S/32': 30_903_507,
  'ViT-B/8': 102_605_139,
  'ViT-B/16': 102_595_923,
  'ViT-B/32': 104_252_499,
  'ViT-L/16': 325_690_707,
  'ViT-L/32': 327_899_475,
  'ViT-H/14': 658_745_683,
  'R+ViT-Ti/16': 10_360_403,
  'R26+ViT-S/32': 44_456_467,
  'R26+ViT-B/32': 117_412_243,
  'R50+ViT-B/16': 114_687_379,
  'R50+ViT-B/32': 126_974_099,
  'R50+ViT-L/16': 337_847_699,
  'R50+ViT-L/32': 350_358_931,
}

# The same with a tanh layer before the head, as released files of 2020 have
# it: MiB of four bytes each, in the digits of the file listings.
IMAGENET_21K_TANH_MIB = {
  'ViT-Ti/16': 37.30,
  'ViT-S/16': 115.29,
  'ViT-S/32': 118.45,
  'ViT-B/8': 393.66,
  'ViT-B/16': 393.63,
  'ViT-B/32': 399.94,
  'ViT-L/16': 1246.42,
  'ViT-L/32': 1254.84,
  'ViT-H/14': 2519.17,
  'R+ViT-Ti/16': 39.66,
  'R26+ViT-S/32': 170.15,
  'R26+ViT-B/32': 450.15,
  'R50+ViT-B/16': 439.75,
  'R50+ViT-B/32': 486.62,
  'R50+ViT-L/16': 1292.79,
  'R50+ViT-L/32': 1340.52,
}

# At 224 pixels with 1,000 classes, without class token: patches are averaged.
AVERAGE = {
  'ViT-S/16': 22_049_896,
  'ViT-S/32': 22_878_184,
  'ViT-B/16': 86_566_120,
  'ViT-B/32': 88_222_696,
}
