"""Every recipe can be launched: it loads, fits itself, and can be assembled."""

import pathlib
import re
import runpy

import pytest

import vit_jax
from vit_jax import errors
from vit_jax.config import grids, recipes, schema, validation
from vit_jax.data import sources
from vit_jax.paper import costs
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly
from vit_jax.weights import catalog
from vit_jax.weights.catalog import augreg

ROOT = pathlib.Path(vit_jax.__file__).parents[1]
RECIPES = sorted(
  path
  for folder in ('pretrain', 'finetune')
  for path in (ROOT / 'configs' / folder).glob('*.py')
  if path.name != 'folder.py'  # Of people's own data: it reproduces nothing.
)

# A recipe and its knobs: the devices that it would have.
LAUNCHED = {
  'pretrain/augreg.py:variant=Ti/16': 8,
  'pretrain/masked_patches.py': 64,
  'pretrain/plain_s16.py': 8,
  'pretrain/position_embeddings.py:kind=relative,placement=shared': 8,
  'pretrain/vit_i1k.py:variant=B/32': 8,
  'pretrain/vit_i21k.py:variant=B/16': 64,
  'pretrain/vit_jft.py:variant=BiT-R50x1': 256,
  'pretrain/vit_jft.py:variant=R50+ViT-B/32': 256,
  'finetune/augreg.py:variant=R26+ViT-S/32,dataset=oxford_iiit_pet': 8,
  'finetune/augreg.py:variant=R50+ViT-L/32,dataset=vtab_full/kitti': 8,
  'finetune/high_resolution.py:variant=H/14': 64,
  'finetune/transfer.py:dataset=vtab/clevr_count': 8,
  'finetune/transfer.py:dataset=imagenet2012,variant=H/14': 64,
}


def load(spec, overrides=()):
  return recipes.load(str(ROOT / 'configs' / spec), overrides)


@pytest.mark.parametrize('spec', LAUNCHED)
def test_a_recipe_is_assembled_for_its_devices(spec):
  config, num_devices = load(spec), LAUNCHED[spec]
  validation.validate(config, num_devices)
  mesh = meshes.abstract(config.mesh, num_devices)
  num_classes = sources.num_classes(config.data)
  components = assembly.build(config, num_classes, mesh, num_steps=20_000)
  assert (components.state.ema is None) == (config.optimizer.ema_decay is None)
  assert components.batch(config.run.batch_size)['image'].shape == (
    config.run.batch_size,
    *schema.image_size(config.data),
    3,
  )


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_begins_with_what_it_reproduces(path):
  text = path.read_text()
  assert f'configs/{path.parent.name}/{path.name}' in text
  assert 'vit_jax train' in text and '%' in text.partition('"""\n\n')[0]
  assert any(spec.startswith(f'{path.parent.name}/') for spec in LAUNCHED)


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_the_cost_that_a_recipe_tells_is_that_of_the_accountant(path):
  told = re.search(
    r'^Cost: (\S+) exaFLOPs, (\S+) H100 h', path.read_text(), re.M
  )
  exaflops = costs.training_exaflops(costs.load(str(path.relative_to(ROOT))))
  for number, counted in zip(told.groups(), (exaflops, costs.hours(exaflops))):
    assert float(number) == pytest.approx(
      counted, rel=0.06 / float(number) + 5e-3
    )


# Table 3 --------------------------------------------------------------------


def names_in(recipe, table):
  return list(runpy.run_path(str(ROOT / 'configs' / recipe))[table])


@pytest.mark.parametrize('variant', names_in('pretrain/vit_jft.py', 'ROWS'))
def test_every_model_of_jft_fits(variant):
  config = load(f'pretrain/vit_jft.py:variant={variant}')
  validation.validate(config, 256)
  assert config.model.name == variant


def test_steps_are_those_of_epochs_and_images():
  # Of B/16: 7 epochs of 303 million images, in batches of 4096.
  assert load('pretrain/vit_jft.py').run.num_steps == 517_822
  short = load('pretrain/vit_jft.py:num_epochs=1,num_images=4096000')
  assert (short.run.num_steps, short.run.num_epochs) == (1000, None)
  config = load('pretrain/vit_i1k.py')
  assert schema.num_steps(config.run, 1_268_355) == 92_897


def test_a_variant_that_the_paper_has_not_is_told():
  with pytest.raises(errors.UserError, match=r'ViT-B/8.* Did you mean ViT-B/'):
    load('pretrain/vit_jft.py:variant=B/8')


# AugReg ---------------------------------------------------------------------


def test_augreg_has_28_settings_called_as_its_files_are():
  names = names_in('pretrain/augreg.py', 'SETTINGS')
  assert len(set(names)) == 28
  assert set(augreg.RECOMMENDED.values()) <= set(names)
  for name in names:
    catalog.get(f'augreg/S_16-i21k-300ep-lr_0.001-aug_{name}')


def test_a_setting_may_be_given_by_its_place():
  names = names_in('pretrain/augreg.py', 'SETTINGS')
  for place, name in list(enumerate(names))[::9]:
    assert load(f'pretrain/augreg.py:setting={place}') == load(
      f'pretrain/augreg.py:setting={name}'
    )


def test_a_setting_is_what_its_name_says():
  config = load('pretrain/augreg.py:setting=light1-wd_0.03-do_0.1-sd_0.1')
  assert config.data.augmentation == 'light2'  # Of the paper; light1 of files.
  assert config.optimizer.weight_decay == 0.03
  assert (config.model.dropout, config.model.drop_path) == (0.1, 0.1)
  large = load('pretrain/augreg.py:dataset=imagenet21k,num_epochs=30')
  assert (large.data.num_classes, large.objective.loss) == (21_843, 'sigmoid')


def test_a_setting_that_is_not_in_the_list_is_told():
  for setting in ('28', 'light2-wd_0.1-do_0.0-sd_0.0'):
    with pytest.raises(errors.UserError, match=f'knob setting={setting!r}'):
      load(f'pretrain/augreg.py:setting={setting}')


# Fine-tuning ----------------------------------------------------------------


@pytest.mark.parametrize(
  'spec, rates',
  [
    ('finetune/transfer.py:dataset=imagenet2012', (0.003, 0.01, 0.03, 0.06)),
    ('finetune/transfer.py:dataset=cifar10', (0.001, 0.003, 0.01, 0.03)),
    ('finetune/transfer.py:dataset=vtab/dtd', (0.01,)),
    ('finetune/high_resolution.py', (0.003, 0.01, 0.03, 0.06)),
    ('finetune/augreg.py', (0.01, 0.03)),
    ('finetune/augreg.py:dataset=cifar100,num_steps=70', (0.001, 0.003, 0.01)),
  ],
)
def test_rates_to_choose_from_are_those_of_the_papers(spec, rates):
  grid = recipes.grid(str(ROOT / 'configs' / spec))
  assert grid == {'optimizer.learning_rate': rates}


@pytest.mark.parametrize(
  'dataset, schedules',
  [
    ('cifar100', ((10_000, 500), (2_500, 200))),
    ('oxford_iiit_pet', ((2_500, 200), (500, 100))),
    ('vtab_full/dtd', ((2_500, 200), (500, 100))),
  ],
)
def test_augreg_chooses_steps_with_their_warm_up(dataset, schedules):
  spec = f'finetune/augreg.py:dataset={dataset}'
  grid = recipes.grid(str(ROOT / 'configs' / spec))
  assert grid['run.num_steps:optimizer.warmup_steps'] == schedules
  config = load(spec)
  usual = config.run.num_steps, config.optimizer.warmup_steps
  assert usual == schedules[0]
  for setting in grids.combinations(grid):
    validation.validate(grids.apply(config, setting), 8)


@pytest.mark.parametrize(
  'spec, init',
  [
    ('transfer.py:variant=L/32', 'imagenet21k/ViT-L_32'),
    ('transfer.py:variant=R50+ViT-B/16', 'imagenet21k/R50+ViT-B_16'),
    ('high_resolution.py:variant=H/14', 'imagenet21k/ViT-H_14'),
    ('augreg.py:variant=R+ViT-Ti/16', 'augreg/R_Ti_16'),
  ],
)
def test_weights_to_start_from_are_in_the_catalogue(spec, init):
  config = load(f'finetune/{spec}')
  assert config.init == init
  assert catalog.get(init).model == config.model.name


@pytest.mark.parametrize(
  'knobs, side',
  [('variant=B/32', 384), ('variant=H/14', 378), ('resolution=224', 224)],
)
def test_patches_cover_the_images_of_a_fine_tuning(knobs, side):
  config = load(f'finetune/transfer.py:{knobs}')
  assert config.data.resolution == (side,)
  validation.validate(config, 8)


@pytest.mark.parametrize(
  'recipe, suite', [('transfer', 'vtab'), ('augreg', 'vtab_full')]
)
def test_tasks_of_vtab_keep_what_their_labels_are_of(recipe, suite):
  for task, crop, flip in (
    ('caltech101', 'resize_and_crop', True),
    ('clevr_count', 'stretch', True),
    ('dsprites_location', 'stretch', False),
    ('smallnorb_azimuth', 'resize_and_crop', False),
  ):
    data = load(f'finetune/{recipe}.py:dataset={suite}/{task}').data
    assert (data.train_crop, data.flip) == (crop, flip)
    assert (data.eval_crop, data.train_split) == ('stretch', 'train')


def test_a_protocol_has_its_own_version_of_vtab():
  for recipe, suite in ('transfer', 'vtab_full'), ('augreg', 'vtab'):
    with pytest.raises(errors.UserError, match=r'Did you mean vtab'):
      load(f'finetune/{recipe}.py:dataset={suite}/dtd')


def test_weights_of_ones_own_may_be_given():
  spec = 'finetune/transfer.py:init=/data/mpp,dataset=imagenet2012'
  assert load(spec).init == '/data/mpp'


def test_warmups_fit_the_number_of_steps():
  for dataset in 'imagenet2012', 'cifar100', 'oxford_iiit_pet':
    for recipe in 'transfer', 'augreg':
      config = load(f'finetune/{recipe}.py:dataset={dataset}')
      assert config.optimizer.warmup_steps <= config.run.num_steps / 5
  shorter = load('finetune/augreg.py:dataset=cifar100,num_steps=2500')
  assert shorter.optimizer.warmup_steps == 200
  assert load('finetune/augreg.py:num_steps=70').optimizer.warmup_steps == 7


def test_table_2_is_fine_tuned_at_its_resolutions_and_averaged():
  sides = {'L/16': 512, 'H/14': 518}
  for variant, side in sides.items():
    config = load(f'finetune/high_resolution.py:variant={variant}')
    assert config.data.resolution == (side,)
    assert config.optimizer.ema_decay == 0.9999


def test_a_folder_is_not_trained_on_for_less_than_no_time(tmp_path):
  for name in 'a/0.png', 'a/1.png', 'b/0.png', 'b/1.png':
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b'')
  spec = f'finetune/folder.py:data={tmp_path},init=none,epochs'
  assert recipes.load(f'{spec}=8').run.num_steps == 3  # One is held out.
  with pytest.raises(errors.UserError, match='epochs=-1 is negative'):
    recipes.load(f'{spec}=-1')
