"""cuDNN computes attention where it can, and XLA gives the same numbers."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors, models
from vit_jax.analysis import attention_maps
from vit_jax.config import schema
from vit_jax.evaluation import target
from vit_jax.nn import attention, attention_kernels
from vit_jax.paper import inference_speed
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly
from vit_jax.weights import loading

HEADS, HEAD_DIM = 2, 8
on_gpu = pytest.mark.skipif(
  jax.default_backend() != 'gpu', reason='cuDNN needs an NVIDIA GPU'
)


def choose(wanted='auto', **changes):
  model = {'dtype': 'bfloat16', 'head_dim': 64, 'has_relative_keys': False}
  return attention_kernels.choose(
    wanted, **model | {'platform': 'gpu'} | changes
  )


@pytest.fixture
def found(monkeypatch):
  """A machine on which JAX finds cuDNN's kernel."""
  monkeypatch.setattr(
    attention_kernels, 'cudnn', lambda query, key, value: query
  )


@pytest.fixture
def by_jax(monkeypatch):
  """Stands in for the kernel, with the program that JAX has for any device."""
  calls, program = [], jax.nn.dot_product_attention

  def attend(*heads, implementation, **lengths):
    calls.append(implementation)
    return program(*heads, implementation='xla', **lengths)

  monkeypatch.setattr(jax.nn, 'dot_product_attention', attend)
  return calls


# Which ------------------------------------------------------------------------


def test_cudnn_is_taken_where_it_fits(found):
  assert choose() == choose('cudnn') == attention_kernels.Choice('cudnn', None)
  assert choose('xla').name == 'xla'


@pytest.mark.parametrize(
  'misfit, reason',
  [
    ({'dtype': 'float32'}, 'needs model.dtype=bfloat16'),
    ({'head_dim': 12}, '12 dimensions per head are not a multiple of 8'),
    (
      {'has_relative_keys': True},
      'does not support relative position embeddings',
    ),
  ],
)
def test_a_model_that_cudnn_has_no_kernel_for(found, misfit, reason):
  choice = choose('auto', **misfit)
  assert choice.name == 'xla' and reason in choice.reason
  with pytest.raises(errors.UserError, match=reason):
    choose('cudnn', **misfit)


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
def test_without_a_gpu_xla_takes_its_place_and_says_so(found, platform):
  choice = choose('auto', platform=platform)
  assert choice.name == 'xla' and f'of kind {platform}' in choice.reason
  with pytest.warns(UserWarning, match='Using XLA instead of cuDNN'):
    assert choose('cudnn', platform=platform) == choice


@pytest.mark.filterwarnings('error')
def test_what_runs_on_no_device_needs_no_kernel(found):
  choice = choose('auto', platform=None)
  assert choice == ('xla', 'there are no devices to run on')
  assert choose('cudnn', platform=None) == choice  # And nobody is warned.


def test_a_gpu_for_which_jax_has_no_kernel_is_told(monkeypatch):
  def refuse(query, key, value):
    raise NotImplementedError('The head dim must be <= 128')

  monkeypatch.setattr(attention_kernels, 'cudnn', refuse)
  choice = choose('auto')
  assert choice.name == 'xla' and 'must be <= 128' in choice.reason


def test_a_gpu_must_have_the_kernel_of_the_backward_pass_too(monkeypatch):
  @jax.custom_vjp
  def forward_only(query, key, value):
    return query

  def refuse(*_):
    raise NotImplementedError('no backward pass')

  forward_only.defvjp(lambda *heads: (forward_only(*heads), None), refuse)
  monkeypatch.setattr(attention_kernels, 'cudnn', forward_only)
  choice = choose('auto')
  assert choice.name == 'xla' and 'no backward pass' in choice.reason


@pytest.mark.skipif(jax.default_backend() == 'gpu', reason='there may be cuDNN')
def test_jax_itself_is_asked_for_the_kernel():
  assert 'JAX finds no kernel' in choose('auto').reason


# Who runs a model says where --------------------------------------------------


def tiny_model():
  config = schema.default()
  config.model.update(name='ViT-Ti/4', width=16, depth=1, num_heads=2)
  config.model.update(mlp_dim=8, dtype='bfloat16')
  config.data.resolution = (8,)
  config.run.num_steps = 1
  config.optimizer.warmup_steps = 0
  return config


def of_a_run(mesh):
  assembly.build(tiny_model(), 3, mesh)


def of_an_evaluation(mesh):
  it = types.SimpleNamespace(config=tiny_model(), num_classes=3, mesh=mesh)
  target.Target.functions(it, {})


def of_weights(mesh):
  del mesh
  weights = types.SimpleNamespace(
    model=tiny_model().model, num_classes=3, load=lambda *_: ({}, None)
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loading, 'changes_to', lambda *_: None)
    loading.load(weights, (8, 8))


def of_a_benchmark(mesh):
  del mesh
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(inference_speed, '_rate', lambda *_: 1.0)
    inference_speed.table(['ViT-Ti/16'], [16], largest=1)


@pytest.mark.parametrize(
  'build', [of_a_run, of_an_evaluation, of_weights, of_a_benchmark]
)
@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
def test_whoever_runs_a_model_says_on_which_platform(
  build, platform, monkeypatch
):
  asked = []
  device = types.SimpleNamespace(
    platform=platform, device_kind='a device', process_index=0
  )
  monkeypatch.setattr(meshes, 'devices', lambda: [device])
  monkeypatch.setattr(meshes, 'platform', lambda _: platform)
  monkeypatch.setattr(
    attention_kernels,
    'choose',
    lambda *args: asked.append(args[-1]) or attention_kernels.Choice('xla', ''),
  )
  build(meshes.build(schema.default().mesh, jax.devices()[:1]))
  assert asked == [platform]


def test_a_mesh_has_the_platform_of_its_devices():
  mesh = schema.default().mesh
  assert meshes.platform(meshes.build(mesh)) == jax.default_backend()
  assert meshes.platform(meshes.abstract(mesh, 8)) is None


# The numbers ------------------------------------------------------------------


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('num_tokens', [6, 7])
def test_attention_of_jax_and_ours_give_the_same(
  by_jax, num_tokens, dtype, rng
):
  tokens = jax.random.normal(rng, (2, num_tokens, HEADS * HEAD_DIM), dtype)
  ours = attention.Attention(num_heads=HEADS, dtype=jnp.dtype(dtype))
  params = jax.jit(ours.init)(rng, tokens, tokens)

  def compute(implementation):
    layer = ours.clone(implementation=implementation)

    def loss(tokens):
      out = layer.apply(params, tokens, tokens).astype(jnp.float32)
      return jnp.sum(out**2), out

    return jax.jit(jax.grad(loss, has_aux=True))(tokens)

  rtol = {'float32': 1e-5, 'bfloat16': 0.02}[dtype]
  for given, wanted in zip(compute('cudnn'), compute('xla')):
    given, wanted = np.float32(given), np.float32(wanted)
    assert np.abs(given - wanted).max() < rtol * np.abs(wanted).max()
  assert by_jax == ['cudnn']


@pytest.mark.parametrize('num_queries', [6, 7])
@pytest.mark.parametrize('num_tokens', [6, 7])
def test_jax_has_a_gradient_for_any_number_of_tokens(
  jax_finds_cudnn, num_queries, num_tokens
):
  query, key = (
    jax.ShapeDtypeStruct((1, count, 1, HEAD_DIM), jnp.bfloat16)
    for count in (num_queries, num_tokens)
  )

  def attend(query, key):
    out = attention_kernels.cudnn(query, key, key)
    assert out.shape == query.shape
    return out.astype(jnp.float32).sum()

  of_query, of_key = jax.eval_shape(jax.grad(attend, (0, 1)), query, key)
  assert (of_query.shape, of_key.shape) == (query.shape, key.shape)


def test_who_asks_for_the_weights_gets_them_from_xla(by_jax, monkeypatch):
  monkeypatch.setattr(attention_kernels, '_missing', lambda *_: None)
  model = schema.default().model
  model.update(name='ViT-Ti/4', width=16, depth=2, num_heads=2, mlp_dim=8)
  model.dtype = 'bfloat16'
  module = models.build(model, 3, platform='gpu')
  assert module.encoder.block.attention == 'cudnn'
  images = jnp.ones((1, 8, 8, 3))
  shapes = models.params_of(module, (8, 8))
  by_jax.clear()
  program = jax.make_jaxpr(
    lambda params: jnp.stack(
      attention_maps.compute(module, params, images).layers
    )
  )(shapes)
  assert not by_jax
  assert program.out_avals[0].shape == (2, 1, 2, 5, 5)
  jax.eval_shape(
    lambda params: module.apply({'params': params}, images, train=False), shapes
  )
  assert len(by_jax) == 2


@on_gpu
@pytest.mark.parametrize('head_dim', [64, 80, 88, 104])  # S to L, H, g, G.
@pytest.mark.parametrize('num_tokens', [196, 197, 257, 577])
def test_the_kernel_gives_what_xla_does(num_tokens, head_dim, rng):
  shape = (2, num_tokens, 4, head_dim)
  query, key, value = jax.random.normal(rng, (3, *shape), jnp.bfloat16)

  def compute(attend):
    def loss(*heads):
      return jnp.sum(attend(*heads).astype(jnp.float32) ** 2)

    return jax.jit(jax.grad(loss, (0, 1, 2)))(query, key, value)

  def by_xla(*heads):
    return jax.nn.dot_product_attention(*heads, implementation='xla')

  for given, wanted in zip(compute(attention_kernels.cudnn), compute(by_xla)):
    given, wanted = np.float32(given), np.float32(wanted)
    assert np.abs(given - wanted).max() < 0.03 * np.abs(wanted).max()
