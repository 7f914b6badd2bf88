"""Every field of a run's configuration, on one page.

A recipe (a file in configs/) starts from `default()` and states what differs;
`--config.optimizer.learning_rate=0.01` overrides a field on the command line.
The configuration is locked: an unknown field or a wrong type is an error.

The comment behind a field, which may continue on lines of its own, is what
`vit_jax config` and the documentation say of it (see `fields`): sentences that
make sense alone.
"""

from ml_collections import config_dict

from vit_jax import errors


def default():
  """Returns the locked configuration of a run; every field has its default."""
  config = config_dict.ConfigDict()
  config.seed = 0  # Of parameters, data order, augmentation and dropout.
  config.init = config_dict.placeholder(str)  # Pretrained weights: name, file,
  # URL or run (see weights.loading.find); None: random initialization.
  config.model = _model()
  config.data = _data()
  config.objective = _objective()
  config.optimizer = _optimizer()
  config.run = _run()
  config.mesh = _mesh()
  return config.lock()


def _model():
  model = config_dict.ConfigDict()
  model.name = 'ViT-B/16'  # As papers write it: R50+ViT-L/32, BiT-R50x1, ...
  model.width = config_dict.placeholder(int)  # None: as model.name says.
  model.depth = config_dict.placeholder(int)  # Number of layers. None: as
  # model.name says.
  model.num_heads = config_dict.placeholder(int)  # Attention heads per layer.
  # None: as model.name says.
  model.mlp_dim = config_dict.placeholder(int)  # Hidden units of each MLP.
  # None: as model.name says.
  model.pooling = 'class_token'  # class_token, average or attention.
  model.head = 'linear'  # linear, or pre_logits: a tanh layer before it.
  model.head_bias = 0.0  # Initial bias of the head; sigmoid loss likes -10.
  model.position_embedding = 'learned_1d'  # none, learned_1d, learned_2d,
  # sincos_2d or relative (ViT paper, table 8).
  model.position_placement = 'stem'  # Where positions are added: stem,
  # every_layer, or shared by every layer.
  model.dropout = 0.0  # Fraction of activations zeroed in training.
  model.drop_path = 0.0  # Stochastic depth: rate of the last layer.
  model.gelu = 'tanh'  # tanh as for Google's weights, erf as for timm's.
  model.norm_epsilon = 1e-6  # Of LayerNorm; Hugging Face's ViTs have 1e-12.
  model.dtype = 'float32'  # Of activations, or bfloat16; parameters: float32.
  model.attention = 'auto'  # xla, cudnn, or auto: cudnn where supported.
  model.scan = False  # Layers as one loop, which compiles once for all.
  model.remat = 'none'  # Recomputed for gradients, to save memory: none,
  # elementwise (cheap operations), dots (all but products with parameters)
  # or full (all but layers' inputs).
  return model


def _data():
  data = config_dict.ConfigDict()
  data.source = 'tfds'  # tfds, folder, arrays, synthetic, roundels, python.
  data.dataset = 'imagenet2012'  # Name in TFDS, vtab/TASK, folder, .npz file;
  # a weighted mixture: imagenet2012@3+places365_small@1.
  data.data_dir = config_dict.placeholder(str)  # None: where TFDS keeps it.
  data.train_split = 'train'  # Or a slice such as train[:99%].
  data.eval_split = 'validation'  # Evaluated whole, each example once.
  data.num_classes = config_dict.placeholder(int)  # None: as the data set says.
  data.num_examples = 1024  # Per split, of synthetic and roundels.
  data.resolution = (224,)  # Pixels: (side,) or (rows, columns).
  data.train_crop = 'random_resized'  # Or pad_and_crop (by up to 4 px), affine,
  # resize_and_crop (of 7/6 of the size), stretch, central (of 8/7), letterbox.
  data.min_crop_area = 0.05  # Smallest random crop, as fraction of the image.
  data.eval_crop = 'central'  # central, stretch or letterbox (grey borders).
  data.resize = 'auto'  # bilinear, bicubic, these with _antialiased, or area;
  # auto: area for central and letterbox, else bilinear.
  data.exif_orientation = False  # Turn images as their EXIF data say.
  data.flip = True  # Mirror every other training image.
  data.augmentation = 'none'  # AugReg's light1 to strong2, or three_augment.
  data.mixup = config_dict.placeholder(float)  # Alpha; 0: off; None: as named.
  data.cutmix = 0.0  # Alpha; with mixup, each gets half of the batches.
  data.random_erasing = 0.0  # Probability that a part of an image is erased.
  data.repeated_augmentation = 1  # Copies of an example in its batch.
  data.balance = False  # Draw each class equally often, rare or frequent; TFDS
  # reads its whole split for the labels.
  data.allow_outside = False  # Lists may name images outside of their folder.
  data.max_bad_fraction = 0.001  # Of unusable examples; more end the run.
  data.num_threads = config_dict.placeholder(int)  # Of each process of the
  # run, for decoding and transforms; None: one per CPU it may use.
  data.num_workers = 0  # Processes over which data.num_threads are split; 0:
  # they are in the main process.
  data.prefetch_batches = 2  # Batches ready on the devices.
  return data


def _objective():
  objective = config_dict.ConfigDict()
  objective.name = 'classification'  # Or masked_patches (ViT paper, B.1.2).
  objective.loss = 'softmax'  # softmax or sigmoid cross-entropy.
  objective.label_smoothing = 0.0  # Fraction of the target spread over classes.
  return objective


def _optimizer():
  optimizer = config_dict.ConfigDict()
  optimizer.name = 'adam'  # adam (decoupled weight decay) or sgd.
  optimizer.learning_rate = 1e-3  # At the end of the warm-up.
  optimizer.schedule = 'cosine'  # cosine, linear, rsqrt or constant: the
  # learning rate after the warm-up.
  optimizer.warmup_steps = 10_000  # Of a linear rise of the rate from zero.
  optimizer.end_learning_rate = 0.0  # Of the last step; cosine and linear only.
  optimizer.rsqrt_timescale = 10_000  # Time scale of rsqrt, in steps.
  optimizer.beta1 = 0.9  # Adam's decay of the mean gradient.
  optimizer.beta2 = 0.999  # Adam's decay of the mean square of the gradient.
  optimizer.eps = 1e-8  # Adam's epsilon, of the denominator.
  optimizer.momentum = 0.9  # Of sgd.
  optimizer.accumulator_dtype = 'float32'  # Of the first moment; or bfloat16.
  optimizer.weight_decay = 0.1  # Decoupled (Loshchilov & Hutter, 2019).
  optimizer.decay_times_learning_rate = True  # Weight decay is multiplied by
  # the learning rate, as the ViT paper writes it.
  optimizer.clip_norm = config_dict.placeholder(float)  # None: no clipping.
  optimizer.accumulation_steps = 1  # Microbatches per update.
  optimizer.ema_decay = config_dict.placeholder(float)  # Of the moving average
  # of the parameters, evaluated in their place; None: there is none.
  optimizer.layer_decay = config_dict.placeholder(float)  # 0.75: each layer
  # trains at 0.75 of the rate of the one above it; None: all at one rate.
  optimizer.decay_rules = (('.*/kernel', 1.0), ('.*', 0.0))  # Pairs (path
  # pattern, value): the value of the first pattern that matches a parameter's
  # whole path is multiplied by the weight decay; every path must match one.
  optimizer.learning_rate_rules = (('.*', 1.0),)  # Pairs as decay_rules, whose
  # values are multiplied by the learning rate.
  optimizer.trainable_rules = (('.*', True),)  # Pairs as decay_rules; False:
  # frozen, and without optimizer state.
  return optimizer


def _run():
  run = config_dict.ConfigDict()
  run.batch_size = 4096  # Images per step over all devices.
  run.eval_batch_size = config_dict.placeholder(int)  # None: run.batch_size.
  run.num_epochs = config_dict.placeholder(float)  # Length of the training;
  # either this or run.num_steps is set.
  run.num_steps = config_dict.placeholder(int)  # Length of the training; either
  # this or run.num_epochs is set.
  run.log_every = 50  # Steps between lines of metrics.
  run.writers = ('jsonl', 'tensorboard')  # Of metrics, also csv and wandb;
  # metrics.jsonl is always written.
  run.log_parameter_norm = False  # Log the L2 norm of all parameters, too.
  run.log_compiles = False  # Log each program that JAX compiles, and why.
  run.profile_steps = (0, 0)  # The first and the last step to profile; or none.
  run.peak_flops_per_device = config_dict.placeholder(float)  # For the model
  # FLOPs utilization (MFU); None: that of the chip, where it is known.
  run.eval_every = 1000  # Steps between evaluations; 0: only at the end.
  run.checkpoint_every = 1000  # Steps between saves; 0: only at the end.
  run.checkpoints_to_keep = 1  # Of the newest; older ones are deleted.
  run.keep_best = False  # Saves each step that is evaluated, and keeps the
  # best one, by accuracy, then by loss, too: RUN:best.
  run.patience = config_dict.placeholder(int)  # Evaluations in a row that are
  # no better end the training (early stopping); None: never.
  run.max_consecutive_skips = 3  # Of updates that are not finite; more roll
  # the run back.
  run.loss_spike_factor = config_dict.placeholder(float)  # Times the running
  # mean of the loss, beyond which an update is skipped too; None: never.
  run.watchdog_seconds = 60.0  # Without progress before it stops; 0: never.
  return run


def _mesh():
  mesh = config_dict.ConfigDict()
  mesh.data = -1  # Devices that split the batch; -1: all remaining ones.
  mesh.fsdp = 1  # Devices that split the batch and every parameter.
  mesh.tensor = 1  # Devices that split heads and hidden units.
  return mesh


def lookup(config, field):
  """Returns the value of a field named with dots, as in 'run.batch_size'."""
  for part in field.split('.'):
    config = config[part]
  return config


def image_size(data):
  """Returns (rows, columns) in pixels; a resolution of one number is square."""
  return data.resolution * 2 if len(data.resolution) == 1 else data.resolution


def num_steps(run, num_examples):
  """Returns the number of training steps, from steps or from epochs."""
  if run.num_steps is not None:
    return run.num_steps
  return max(1, round(run.num_epochs * num_examples / run.batch_size))


def mesh_sizes(mesh, num_devices):
  """Returns the sizes of the axes (data, fsdp, tensor) of the device mesh.

  Raises:
    UserError: there are too few devices, or they don't divide.
  """
  fixed = mesh.fsdp * mesh.tensor
  data = mesh.data
  if data == -1:
    if num_devices % fixed:
      raise errors.UserError(
        f'mesh.fsdp={mesh.fsdp} times mesh.tensor={mesh.tensor} is {fixed}, '
        f'which does not divide the {num_devices} device(s) there are.'
      )
    data = num_devices // fixed
  if data < 1:
    raise errors.UserError(
      f'mesh.data={mesh.data} is not a number of devices; '
      'give -1 for all remaining ones.'
    )
  if data * fixed > num_devices:
    raise errors.UserError(
      f'A mesh of data={data} x fsdp={mesh.fsdp} x tensor={mesh.tensor} '
      f'needs {data * fixed} devices and there are {num_devices}; '
      'mesh.data=-1 uses all there are.'
    )
  return {'data': data, 'fsdp': mesh.fsdp, 'tensor': mesh.tensor}
