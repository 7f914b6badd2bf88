"""The tables of the ViT paper (Dosovitskiy et al., 2021, arXiv 2010.11929).

Accuracies are top-1 in per cent; what follows a ± is the standard deviation
over three fine-tunings. Rows and columns are as printed, except for table 9,
which is transposed.
"""

from vit_jax.paper import published

TABLE_1 = published.table(
  'Sizes of the models',
  """
  Model | Layers | Width | MLP size | Heads | Parameters
  ViT-B | 12     | 768   | 3072     | 12    | 86M
  ViT-L | 24     | 1024  | 4096     | 16    | 307M
  ViT-H | 32     | 1280  | 5120     | 16    | 632M
  """,
)

TABLE_2 = published.table(
  'Comparison with the state of the art',
  """
                    | H/14 JFT   | L/16 JFT   | L/16 I21k  | BiT-L R152x4 | Noisy Student
  ImageNet          | 88.55±0.04 | 87.76±0.03 | 85.30±0.02 | 87.54±0.02   | 88.5
  ImageNet ReaL     | 90.72±0.05 | 90.54±0.03 | 88.62±0.05 | 90.54        | 90.55
  CIFAR-10          | 99.50±0.06 | 99.42±0.03 | 99.15±0.03 | 99.37±0.06   | -
  CIFAR-100         | 94.55±0.04 | 93.90±0.05 | 93.25±0.05 | 93.51±0.08   | -
  Pets              | 97.56±0.03 | 97.32±0.11 | 94.67±0.15 | 96.62±0.23   | -
  Flowers           | 99.68±0.02 | 99.74±0.00 | 99.61±0.02 | 99.63±0.03   | -
  VTAB (19 tasks)   | 77.63±0.23 | 76.28±0.46 | 72.72±0.21 | 76.29±1.70   | -
  TPUv3-core-days   | 2.5k       | 0.68k      | 0.23k      | 9.9k         | 12.3k
  """,  # noqa: E501
)

TABLE_3 = published.table(
  'Hyperparameters of pre-training',
  """
  Model, data      | Epochs | Learning rate | Weight decay | Dropout
  B/32 JFT         | 7      | 0.0008        | 0.1          | 0
  B/16 JFT         | 7      | 0.0008        | 0.1          | 0
  L/32 JFT         | 7      | 0.0006        | 0.1          | 0
  L/16 JFT         | 7      | 0.0004        | 0.1          | 0
  H/14 JFT         | 14     | 0.0003        | 0.1          | 0
  R50x1 JFT        | 7      | 0.001         | 0.1          | 0
  R50x2 JFT        | 7      | 0.001         | 0.1          | 0
  R101x1 JFT       | 7      | 0.0008        | 0.1          | 0
  R152x1 JFT       | 7      | 0.0006        | 0.1          | 0
  R152x2 JFT       | 7      | 0.0006        | 0.1          | 0
  R50+B/32 JFT     | 7      | 0.0008        | 0.1          | 0
  R50+B/16 JFT     | 7      | 0.0008        | 0.1          | 0
  R50+L/32 JFT     | 7      | 0.0002        | 0.1          | 0
  R50+L/16 JFT     | 7      | 0.0004        | 0.1          | 0
  B/16 I21k        | 90     | 0.001         | 0.03         | 0.1
  B/32 I21k        | 90     | 0.001         | 0.03         | 0.1
  L/16 I21k        | 90     | 0.001         | 0.03         | 0.1
  L/32 I21k        | 90     | 0.001         | 0.03         | 0.1
  B/16 ImageNet    | 300    | 0.003         | 0.3          | 0.1
  """,
)

TABLE_4 = published.table(
  'Hyperparameters of fine-tuning',
  """
  Data set  | Steps | Lowest rate | Highest rate | Rates
  ImageNet  | 20000 | 0.003       | 0.06         | 4
  CIFAR-100 | 10000 | 0.001       | 0.03         | 4
  CIFAR-10  | 10000 | 0.001       | 0.03         | 4
  Pets      | 500   | 0.001       | 0.03         | 4
  Flowers   | 500   | 0.001       | 0.03         | 4
  VTAB      | 2500  | 0.01        | 0.01         | 1
  """,
)

TABLE_5 = published.table(
  'Transfer from ImageNet, ImageNet-21k and JFT-300M',
  """
                         | B/16  | B/32  | L/16  | L/32  | H/14
  ImageNet CIFAR-10      | 98.13 | 97.77 | 97.86 | 97.94 | -
  ImageNet CIFAR-100     | 87.13 | 86.31 | 86.35 | 87.07 | -
  ImageNet ImageNet      | 77.91 | 73.38 | 76.53 | 71.16 | -
  ImageNet ImageNet ReaL | 83.57 | 79.56 | 82.19 | 77.83 | -
  ImageNet Flowers       | 89.49 | 85.43 | 89.66 | 86.36 | -
  ImageNet Pets          | 93.81 | 92.04 | 93.64 | 91.35 | -
  I21k CIFAR-10          | 98.95 | 98.79 | 99.16 | 99.13 | 99.27
  I21k CIFAR-100         | 91.67 | 91.97 | 93.44 | 93.04 | 93.82
  I21k ImageNet          | 83.97 | 81.28 | 85.15 | 80.99 | 85.13
  I21k ImageNet ReaL     | 88.35 | 86.63 | 88.40 | 85.65 | 88.70
  I21k Flowers           | 99.38 | 99.11 | 99.61 | 99.19 | 99.51
  I21k Pets              | 94.43 | 93.02 | 94.73 | 93.09 | 94.82
  JFT CIFAR-10           | 99.00 | 98.61 | 99.38 | 99.19 | 99.50
  JFT CIFAR-100          | 91.87 | 90.49 | 94.04 | 92.52 | 94.55
  JFT ImageNet           | 84.15 | 80.73 | 87.12 | 84.37 | 88.04
  JFT ImageNet ReaL      | 88.85 | 86.27 | 89.99 | 88.28 | 90.33
  JFT Flowers            | 99.56 | 99.27 | 99.56 | 99.45 | 99.68
  JFT Pets               | 95.80 | 93.40 | 97.11 | 95.83 | 97.56
  """,
)

TABLE_6 = published.table(
  'Models pre-trained on JFT-300M, and what that cost',
  """
  Model, epochs | ImageNet | ReaL  | CIFAR-10 | CIFAR-100 | Pets  | Flowers | exaFLOPs
  B/32, 7       | 80.73    | 86.27 | 98.61    | 90.49     | 93.40 | 99.27   | 55
  B/16, 7       | 84.15    | 88.85 | 99.00    | 91.87     | 95.80 | 99.56   | 224
  L/32, 7       | 84.37    | 88.28 | 99.19    | 92.52     | 95.83 | 99.45   | 196
  L/16, 7       | 86.30    | 89.43 | 99.38    | 93.46     | 96.81 | 99.66   | 783
  L/16, 14      | 87.12    | 89.99 | 99.38    | 94.04     | 97.11 | 99.56   | 1567
  H/14, 14      | 88.08    | 90.36 | 99.50    | 94.71     | 97.11 | 99.71   | 4262
  R50x1, 7      | 77.54    | 84.56 | 97.67    | 86.07     | 91.11 | 94.26   | 50
  R50x2, 7      | 82.12    | 87.94 | 98.29    | 89.20     | 93.43 | 97.02   | 199
  R101x1, 7     | 80.67    | 87.07 | 98.48    | 89.17     | 94.08 | 95.95   | 96
  R152x1, 7     | 81.88    | 87.96 | 98.82    | 90.22     | 94.17 | 96.94   | 141
  R152x2, 7     | 84.97    | 89.69 | 99.06    | 92.05     | 95.37 | 98.62   | 563
  R152x2, 14    | 85.56    | 89.89 | 99.24    | 91.92     | 95.75 | 98.75   | 1126
  R200x3, 14    | 87.22    | 90.15 | 99.34    | 93.53     | 96.32 | 99.04   | 3306
  R50+B/32, 7   | 84.90    | 89.15 | 99.01    | 92.24     | 95.75 | 99.46   | 106
  R50+B/16, 7   | 85.58    | 89.65 | 99.14    | 92.63     | 96.65 | 99.40   | 274
  R50+L/32, 7   | 85.68    | 89.04 | 99.24    | 92.93     | 96.97 | 99.43   | 246
  R50+L/16, 7   | 86.60    | 89.72 | 99.18    | 93.64     | 97.03 | 99.40   | 859
  R50+L/16, 14  | 87.12    | 89.76 | 99.31    | 93.89     | 97.36 | 99.11   | 1668
  """,  # noqa: E501
)

TABLE_7 = published.table(
  'Adam and SGD for pre-training ResNets',
  """
            | R50x1 Adam | R50x1 SGD | R152x2 Adam | R152x2 SGD
  ImageNet  | 77.54      | 78.24     | 84.97       | 84.37
  CIFAR-10  | 97.67      | 97.46     | 99.06       | 99.07
  CIFAR-100 | 86.07      | 85.17     | 92.05       | 91.06
  Pets      | 91.11      | 91.00     | 95.37       | 94.79
  Flowers   | 94.26      | 92.06     | 98.62       | 99.32
  Average   | 89.33      | 88.79     | 94.01       | 93.72
  """,
)

TABLE_8 = published.table(
  'Position embeddings; linear 5-shot accuracy on ImageNet, a fraction',
  """
           | At the stem | At every layer | Shared by layers
  None     | 0.61382     | -              | -
  1-D      | 0.64206     | 0.63964        | 0.64292
  2-D      | 0.64001     | 0.64046        | 0.64022
  Relative | 0.64032     | -              | -
  """,
)

TABLE_9 = published.table(
  'The tasks of VTAB-1k',
  """
             | H/14 JFT | L/16 JFT | L/16 I21k
  Caltech101 | 95.3     | 95.4     | 90.8
  CIFAR-100  | 85.5     | 81.9     | 84.1
  DTD        | 75.2     | 74.3     | 74.1
  Flowers102 | 99.7     | 99.7     | 99.3
  Pets       | 97.2     | 96.7     | 92.7
  Sun397     | 65.0     | 63.5     | 61.0
  SVHN       | 88.9     | 87.4     | 80.9
  Camelyon   | 83.3     | 83.6     | 82.5
  EuroSAT    | 96.7     | 96.5     | 95.6
  Resisc45   | 91.4     | 89.7     | 85.2
  Retinopathy | 76.6    | 77.1     | 75.3
  Clevr-Count | 91.7    | 86.4     | 70.3
  Clevr-Dist | 63.8     | 63.1     | 56.1
  DMLab      | 53.1     | 49.7     | 41.9
  dSpr-Loc   | 79.4     | 74.5     | 74.7
  dSpr-Ori   | 63.3     | 60.5     | 64.9
  KITTI-Dist | 84.5     | 82.2     | 79.9
  sNORB-Azim | 33.2     | 36.2     | 30.5
  sNORB-Elev | 51.2     | 51.1     | 41.7
  Mean       | 77.6     | 76.3     | 72.7
  """,
)
